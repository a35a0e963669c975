"""The floor check: is this line at least so fast, asked with as few bytes as it takes (``docs/measurement.md``).

:mod:`~linkbell_agent.floor.rule` decides, :mod:`~linkbell_agent.floor.client` does.
"""
