"""The layers on the way out of a school, and the verdict on where the fault is.

``states`` and ``verdict`` decide, ``judge`` reads one round's records, ``quality`` looks back over several rounds,
``watch`` does the rounds. See ``docs/layers.md``.
"""
