"""What the page has to know besides the history, as JSON can hold it. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from linkbell_agent.slim import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """Who and where this box is. ``instance`` tells two agents on one machine apart and says nothing else.

    ``now_s`` is seconds since 1970, ``boottime_s`` seconds of this boot; ``synced`` says whether the clock can be
    trusted; ``running`` is false where nobody measures and the history is from the disk.
    """

    version: str
    instance: str
    boot_id: str
    now_s: float
    boottime_s: float
    synced: bool | None = None
    running: bool = True
    agent: str | None = None
    school: str | None = None
    school_name: str | None = None
    timezone: str | None = None
    collector: str | None = None
    uplink: str = "main"
    device: str | None = None
    gateway: str | None = None
    address: str | None = None
    download_floor_bps: float | None = None
    upload_floor_bps: float | None = None
    ping_interval_s: float = 60.0
    waiting: int | None = None
    uplinks: Sequence[dict[str, Any]] = ()
    """Of a box with several: each one's ``name``, ``role``, ``device``, ``gateway``, ``address``, ``carries`` (the
    default route), ``trouble``, and its floors. The fields above are of the one that is shown."""

    def of(self, name: str | None) -> "Facts":
        """Return the same with that uplink shown; itself if there is none of that name."""
        found = next((one for one in self.uplinks if one["name"] == name), None)
        if found is None:
            return self
        shown = ("device", "gateway", "address", "download_floor_bps", "upload_floor_bps", "ping_interval_s")
        return replace(self, uplink=found["name"], **{key: found[key] for key in shown})

    def state(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Facts":
        """Read what :meth:`state` wrote."""
        return cls(**{field.name: state[field.name] for field in fields(cls) if field.name in state})
