"""The measurement server: the other end of a school's speed test, in a process of its own (``docs/measurement.md``)."""
