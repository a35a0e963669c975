"""The text of each record. Pure.

Pings, look-ups and fetches are written straight as JSON, because there are tens of thousands of them a second; a test
holds them against the models of linkbell_wire. All others are made with those models.
"""

from bisect import bisect_right
from functools import lru_cache
from typing import NamedTuple

from linkbell_collector.clock import from_us
from linkbell_collector.simulate.line import LineState
from linkbell_wire.words import Layer

PACKETS = 10
_PART = 1 / 4096


class Target(NamedTuple):
    """Something that is pinged. Hosts are of the ranges for documentation (RFC 5737)."""

    name: str
    layer: Layer
    host: str


TARGETS = (
    Target("gateway", Layer.GATEWAY, "192.168.1.1"),
    Target("isp-hop", Layer.ISP, "100.64.0.1"),
    Target("isp-dns", Layer.DNS, "192.0.2.53"),
    Target("domestic", Layer.DOMESTIC, "198.51.100.10"),
    Target("international", Layer.INTERNATIONAL, "203.0.113.10"),
)
PLATFORM = "https://platform.example/"
COLLECTOR = "https://collector.example/healthz"
MEASURE = "wss://measure.example:8471"
NAME = "platform.example"


class Frame(NamedTuple):
    """What the records of one moment share, as JSON; ``wall_us`` is what the box's clock shows."""

    text: str
    wall_us: int
    boot_id: str
    boottime_s: float
    synced: bool


def at_text(wall_us: int) -> str:
    """Return a time as the wire has it."""
    second, rest = divmod(wall_us, 1_000_000)
    return f"{_second_text(second)}.{rest // 1000:03d}Z"


@lru_cache(1 << 12)
def _second_text(second: int) -> str:
    return from_us(second * 1_000_000).isoformat(timespec="seconds")[:-6]


def frame(wall_us: int, boot_id: str, boottime_s: float, *, synced: bool) -> Frame:
    """Return the frame of a moment."""
    clock = "synced" if synced else "unsynced"
    text = f',"at":"{at_text(wall_us)}","boot_id":"{boot_id}","boottime_s":{boottime_s:.3f},"clock":"{clock}"'
    return Frame(text, wall_us, boot_id, round(boottime_s, 3), synced)


_PING_TAIL = {
    target: f',"target":"{target.name}","layer":"{target.layer.value}","host":"{target.host}","method":"icmp",'
    f'"socket":"datagram","sent":{PACKETS},"received":'
    for target in TARGETS
}


@lru_cache(4096)
def _losses(loss_permille: int) -> list[int]:
    """Return, of 65 536 pings, how many lose at most 0, 1, 2 ... packets, each lost by itself."""
    ratio = loss_permille / 10_000
    chance, total, sums = (1 - ratio) ** PACKETS, 0.0, []
    for lost in range(PACKETS):
        total += chance
        sums.append(round(total * 65_536))
        chance *= (PACKETS - lost) / (lost + 1) * ratio / (1 - ratio)
    return sums


def ping(seq: int, uplink: str, moment: Frame, target: Target, way: tuple[float, float, float], bits: int) -> str:
    """Return a ping that came through. ``way`` is round trip (s), jitter (s), loss; ``bits`` are 64 random ones."""
    rtt_s, jitter_s, loss_ratio = way
    head = f'{{"kind":"ping","seq":{seq},"uplink":"{uplink}"{moment.text}{_PING_TAIL[target]}'
    lost = bisect_right(_losses(int(min(loss_ratio, 0.95) * 10_000)), bits & 0xFFFF)
    if lost >= PACKETS:
        return f'{head}0,"failures":{{"timeout":{PACKETS}}}}}'
    one, two = (bits >> 16 & 4095) * _PART, (bits >> 28 & 4095) * _PART
    mean = rtt_s + jitter_s * (0.3 + 0.8 * one)
    low = rtt_s + jitter_s * 0.2 * two
    p95 = mean + jitter_s * (0.8 + 1.5 * two)
    high = p95 + jitter_s * 2 * (bits >> 40 & 4095) * _PART
    failures = f'{{"timeout":{lost}}}' if lost else "{}"
    return (
        f'{head}{PACKETS - lost},"rtt_min_s":{low:.6f},"rtt_mean_s":{mean:.6f},"rtt_p95_s":{p95:.6f},'
        f'"rtt_max_s":{high:.6f},"jitter_s":{jitter_s * (0.6 + 0.8 * one):.6f},"failures":{failures}}}'
    )


def lost_ping(seq: int, uplink: str, moment: Frame, target: Target, code: str) -> str:
    """Return a ping without a single reply."""
    head = f'{{"kind":"ping","seq":{seq},"uplink":"{uplink}"{moment.text}{_PING_TAIL[target]}'
    return f'{head}0,"failures":{{"{code}":{PACKETS}}}}}'


def lookup(seq: int, uplink: str, moment: Frame, state: LineState, bits: int, failure: str | None) -> str:
    """Return a look-up at the provider's name server."""
    head = (
        f'{{"kind":"dns","seq":{seq},"uplink":"{uplink}"{moment.text},"target":"isp-dns","layer":"dns",'
        f'"resolver":"192.0.2.53","name":"{NAME}","record_type":"A"'
    )
    if failure is not None:
        return f'{head},"tries":2,"failure":{{"operation":"resolve","code":"{failure}"}}}}'
    duration_s = state.rtt_s + state.jitter_s * (bits & 4095) * _PART + 0.03 * ((bits >> 12 & 4095) * _PART) ** 3
    return f'{head},"duration_s":{duration_s:.6f},"tries":1,"answers":2}}'


class Page(NamedTuple):
    """A page that is fetched."""

    target: str
    layer: Layer
    url: str


PAGES = (Page("platform", Layer.PLATFORM, PLATFORM), Page("collector", Layer.COLLECTOR, COLLECTOR))


def fetch(seq: int, uplink: str, moment: Frame, page: Page, times: tuple[float, int], failure: str | None) -> str:
    """Return a fetch. ``times`` is the round trip to the server (s) and 64 random bits; a failure is JSON, or None."""
    rtt_s, bits = times
    head = (
        f'{{"kind":"http","seq":{seq},"uplink":"{uplink}"{moment.text},"target":"{page.target}",'
        f'"layer":"{page.layer.value}","url":"{page.url}"'
    )
    if failure is not None:
        return f"{head},{failure}}}"
    work_s = 0.02 + 0.15 * ((bits & 4095) * _PART) ** 2
    first_s = 3 * rtt_s + work_s
    return (
        f'{head},"status":200,"resolve_s":{rtt_s * 0.3:.6f},"connect_s":{rtt_s:.6f},"tls_s":{rtt_s * 1.1:.6f},'
        f'"first_byte_s":{first_s:.6f},"duration_s":{first_s + rtt_s:.6f},"bytes":{2000 + (bits >> 12 & 4095)}}}'
    )
