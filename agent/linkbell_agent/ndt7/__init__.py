"""The agent's ndt7 client: standard library and our own frames only, constant memory, an end to every run.

Limits and their reasons: ``docs/measurement.md``.
"""
