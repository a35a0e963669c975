"""The last day of this box's findings in memory, for the page on the LAN and for ``status``. Small and bounded.

``minutes`` holds round trips, one value a minute; ``stretch`` everything on one axis of time; ``history`` the past and
the present boot; ``intake`` reads records into it; ``keeping`` puts it on disk, rarely. Only ``intake`` knows the wire:
the rest is loaded by processes that live for a moment, and must start quickly.
"""
