"""The collector's HTTP side: thin handlers around what the rest decides."""
