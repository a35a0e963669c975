"""What kept a speed from being higher: the line, this box, the server, or nobody knows. Pure."""

from collections.abc import Sequence

from linkbell_agent.ndt7.held_back import HeldBack
from linkbell_agent.slim import dataclass
from linkbell_wire.words import DeviceLimit, Direction, LimitedBy

CPU_DEMAND = 0.9
"""The thread that measures wanted the processor for this much of the time: running, or waiting for its turn."""

CORES_BUSY = 0.95
"""Where waiting is not counted: every core at least this busy, or the measuring process at CPU_DEMAND of one."""

INTERRUPT_SHARE = 0.9
"""One core spent this much of its time on packets: on small routers that is where it ends, at one core of four."""

NIC_SHARE = 0.9
ETHERNET_PAYLOAD = 1448 / 1538
"""Payload of a link's bits: full packets, TCP time stamps, preamble and gap."""

WIFI_SHARE = 0.45
"""Wi-Fi carries half to two thirds of its bit rate as payload, at best; from here on the radio is in the way."""

WEAK_SIGNAL_DBM = -75.0
"""Where the bit rate is not known. Below this, radios fall back to rates a line easily exceeds."""

BUFFER_SHARE = 0.3
"""Of the time the sender had something to send, so much went by with a full window, or an empty send buffer."""

SERVER_IDLE_SHARE = 0.3
"""Of the test, so much went by while the server's kernel had nothing to send."""

QUEUE_S = 0.0015
LOSS_RATIO = 0.005
"""A queue that stands, or packets that are dropped: this line is full."""


@dataclass(frozen=True, slots=True)
class Radio:
    """A Wi-Fi port: bit rate and signal level, as far as the driver tells."""

    rate_bps: float | None = None
    signal_dbm: float | None = None


@dataclass(frozen=True, slots=True)
class Port:
    """The network port a test goes through. ``frame_bytes`` is what the port counts with each packet besides IP."""

    is_loopback: bool = False
    link_bps: float | None = None
    frame_bytes: int = 0
    radio: Radio | None = None


@dataclass(frozen=True, slots=True)
class CoreTimes:
    """One core since boot, in ticks."""

    total: int
    busy: int
    interrupts: int


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Processor times at one moment, in seconds: of this process, and of its measuring thread, run and waited for."""

    at_s: float
    process_s: float
    ran_s: float | None
    waited_s: float | None
    cores: tuple[CoreTimes, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one direction of one test. ``queue_s`` is how much longer round trips took under load."""

    direction: Direction
    bps: float
    port: Port | None = None
    cpu: tuple[CpuTimes, CpuTimes] | None = None
    held_back: HeldBack | None = None
    queue_s: float | None = None
    jitter_idle_s: float | None = None
    retransmit_ratio: float | None = None
    is_stable: bool = False


@dataclass(frozen=True, slots=True)
class Limit:
    """The answer; ``device`` says what of the box, if it was the box."""

    by: LimitedBy
    device: DeviceLimit | None = None


def limit(seen: Evidence) -> Limit:
    """Return what limited one direction. The box is suspected first: a full queue may stand inside it.

    ``line`` needs a reason of its own: a queue or losses, or a rate that held still on a box known not to be short of
    anything. Loopback is no line.
    """
    device = _device_limit(seen)
    if device is not None:
        return Limit(LimitedBy.DEVICE, device)
    if _has_standing_queue(seen):
        return Limit(LimitedBy.UNKNOWN if _is_loopback(seen) else LimitedBy.LINE)
    if _is_short_of_buffers(seen):
        return Limit(LimitedBy.DEVICE, DeviceLimit.BUFFERS)
    if _is_held_back_by_server(seen):
        return Limit(LimitedBy.SERVER)
    is_known = seen.cpu is not None and seen.held_back is not None
    if seen.is_stable and is_known and not _is_loopback(seen):
        return Limit(LimitedBy.LINE)
    return Limit(LimitedBy.UNKNOWN)


def summed_up(limits: Sequence[LimitedBy]) -> LimitedBy:
    """Return one word for all directions: the one that most needs to be known."""
    order = (LimitedBy.DEVICE, LimitedBy.SERVER, LimitedBy.LINE)
    return next((word for word in order if word in limits), LimitedBy.UNKNOWN)


def _device_limit(seen: Evidence) -> DeviceLimit | None:
    if seen.cpu is not None and is_short_of_cpu(*seen.cpu):
        return DeviceLimit.CPU
    port = seen.port
    if port is None:
        return None
    if port.radio is not None:
        return DeviceLimit.WIFI if _is_in_the_way(port.radio, seen.bps) else None
    if port.link_bps is not None and seen.bps >= NIC_SHARE * ETHERNET_PAYLOAD * port.link_bps:
        return DeviceLimit.NIC
    return None


def is_short_of_cpu(before: CpuTimes, after: CpuTimes) -> bool:
    """Whether the measuring thread, or the kernel's work on packets, wanted more processor than there was."""
    seconds = after.at_s - before.at_s
    if seconds <= 0:
        return False
    cores = [_Share(*pair) for pair in zip(before.cores, after.cores, strict=False)]
    if any(core.interrupts >= INTERRUPT_SHARE for core in cores):
        return True
    if None not in (before.ran_s, before.waited_s, after.ran_s, after.waited_s):
        wanted_s = (after.ran_s or 0) + (after.waited_s or 0) - (before.ran_s or 0) - (before.waited_s or 0)
        return wanted_s >= CPU_DEMAND * seconds
    own = (after.process_s - before.process_s) / seconds
    return own >= CPU_DEMAND or (bool(cores) and all(core.busy >= CORES_BUSY for core in cores))


class _Share:
    """Of one core's time between two moments: how much was busy, how much went into interrupts."""

    def __init__(self, before: CoreTimes, after: CoreTimes) -> None:
        total = after.total - before.total
        self.busy = (after.busy - before.busy) / total if total > 0 else 0.0
        self.interrupts = (after.interrupts - before.interrupts) / total if total > 0 else 0.0


def _is_in_the_way(radio: Radio, bps: float) -> bool:
    if radio.rate_bps is not None:
        return bps >= WIFI_SHARE * radio.rate_bps
    return radio.signal_dbm is not None and radio.signal_dbm <= WEAK_SIGNAL_DBM


def _has_standing_queue(seen: Evidence) -> bool:
    least_s = max(QUEUE_S, 3 * (seen.jitter_idle_s or 0.0))
    if seen.queue_s is not None and seen.queue_s >= least_s:
        return True
    return _at_least(seen.retransmit_ratio, LOSS_RATIO)


def _is_short_of_buffers(seen: Evidence) -> bool:
    """The receiver's window is this box's in a download, the send buffer in an upload."""
    if seen.held_back is None:
        return False
    is_download = seen.direction is Direction.DOWNLOAD
    return _at_least(seen.held_back.by_receiver if is_download else seen.held_back.by_buffer, BUFFER_SHARE)


def _is_held_back_by_server(seen: Evidence) -> bool:
    held = seen.held_back
    if held is None:
        return False
    if seen.direction is Direction.UPLOAD:
        return _at_least(held.by_receiver, BUFFER_SHARE)
    return _at_least(held.by_buffer, BUFFER_SHARE) or _at_least(held.idle, SERVER_IDLE_SHARE)


def _is_loopback(seen: Evidence) -> bool:
    return seen.port is not None and seen.port.is_loopback


def _at_least(share: float | None, least: float) -> bool:
    return share is not None and share >= least
