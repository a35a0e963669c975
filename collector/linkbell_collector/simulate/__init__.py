"""Schools that do not exist, for load, demonstrations and tests: docs/simulate.md."""
