"""The collector: takes agents' records, keeps them, shows them, and is measured against."""
