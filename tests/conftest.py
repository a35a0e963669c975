"""Settings for all tests."""

from hypothesis import settings

# A deadline per example measures the machine, which other work may be busy with; the suite has its own time limit.
settings.register_profile("linkbell", deadline=None)
settings.load_profile("linkbell")
