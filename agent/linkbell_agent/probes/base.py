"""The one signature all probes share, and what they are given."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import TypedDict, TypeVar

from linkbell_agent.clock import Clock
from linkbell_agent.net import Binding, Uplink
from linkbell_agent.permit import Permit
from linkbell_agent.slim import dataclass
from linkbell_wire import floor
from linkbell_wire.configuration import SpeedServer, TargetConfiguration
from linkbell_wire.records import Record
from linkbell_wire.words import ClockQuality, Direction, Engine, Trigger


class Stamp(TypedDict):
    """The part of a record that says who measured when. ``seq`` is 0 until the spool numbers the record."""

    seq: int
    uplink: str
    at: datetime
    boot_id: str
    boottime_s: float
    clock: ClockQuality | None


@dataclass(frozen=True, slots=True)
class ProbeContext:
    """Where a probe runs: on which uplink, by which clock."""

    uplink: Uplink
    clock: Clock

    def within(self, permit: Permit | None) -> "ProbeContext":
        """Return the same, kept to the addresses that ``permit`` allows; None allows all."""
        return replace(self, uplink=replace(self.uplink, permit=permit))

    def bound(self, binding: Binding | None) -> "ProbeContext":
        """Return the same, held to its uplink by ``binding`` as well; the same itself without one."""
        if binding is None:
            return self
        device = self.uplink.device or binding.device
        return replace(self, uplink=replace(self.uplink, device=device, resolvers=binding.resolvers))

    def stamp(self) -> Stamp:
        """Return the stamp of a record that is finished now."""
        moment = self.clock.now()
        synced = self.clock.synced()
        quality = None if synced is None else ClockQuality.SYNCED if synced else ClockQuality.UNSYNCED
        return Stamp(
            seq=0,
            uplink=self.uplink.name,
            at=moment.wall,
            boot_id=self.clock.boot_id,
            boottime_s=round(moment.boottime_s, 3),
            clock=quality,
        )


@dataclass(frozen=True, slots=True)
class PingRequest:
    """``count`` packets to one target, ``spacing_s`` apart, replies or not; each waited for ``timeout_s``."""

    target: TargetConfiguration
    count: int = 10
    spacing_s: float = 0.2
    timeout_s: float = 2.0


OnBusy = Callable[[float], None]
"""Told for how many seconds a server that has no place asked to be left alone."""


def _ignore(seconds: float) -> None:
    """Nobody wants to know."""


IDLE_S = 1.0
"""Ten round trips, and what others send meanwhile."""


@dataclass(frozen=True, slots=True)
class SpeedRequest:
    """A speed test against the first of ``servers`` that takes it, download before upload, each within both caps.

    It ends as soon as it knows; ``full`` runs it as M-Lab does, one connection for all of the time. Before it the idle
    line is watched for ``idle_s``.
    """

    servers: tuple[SpeedServer, ...]
    trigger: Trigger
    download: bool = True
    upload: bool = True
    max_duration_s: float = 10.0
    max_bytes: int | None = None
    full: bool = False
    engine: Engine = Engine.NDT7
    idle_s: float = IDLE_S
    on_busy: OnBusy = _ignore


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """Is the line at least at ``floor_bps`` in one direction? Asked of the first of ``servers`` that takes it."""

    servers: tuple[SpeedServer, ...]
    trigger: Trigger
    floor_bps: float
    direction: Direction = Direction.DOWNLOAD
    max_duration_s: float = floor.MAX_DURATION_S
    on_busy: OnBusy = _ignore


RequestT_contra = TypeVar("RequestT_contra", contravariant=True)

Probe = Callable[[RequestT_contra, ProbeContext], Awaitable[Record]]
"""Network trouble comes back inside the record; a probe raises only if it could not run at all."""
