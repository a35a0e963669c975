"""Records in one line for people, and what a line of a speed test leaves out. Pure."""

from collections.abc import Callable
from datetime import date
from typing import Any

from linkbell_agent.plan import Plan
from linkbell_agent.sections import OneOfUplinks
from linkbell_wire.errors import ErrorReply
from linkbell_wire.failures import Failure, FailureCode
from linkbell_wire.records import (
    NO_SUCH_NAME,
    CheckRecord,
    DnsRecord,
    EventRecord,
    HttpRecord,
    PingRecord,
    Record,
    SkipRecord,
    SpeedRecord,
    SpeedResult,
    VerdictRecord,
)
from linkbell_wire.words import DeviceLimit, Direction, Grade, LimitedBy, NeighbourState, VerdictState

NOTABLE_SHARE = 0.1
"""Other people's traffic of less than this share of the speed is not worth a sentence."""

_GRADE_WORDS = {
    Grade.A_PLUS: "calls and lessons stay smooth",
    Grade.A: "calls and lessons stay smooth",
    Grade.B: "calls may stutter a little",
    Grade.C: "video calls will suffer",
    Grade.D: "calls break up and pages open slowly",
    Grade.F: "hardly anything else works",
}
_VERDICT_WORDS = {
    VerdictState.OK: "all is well",
    VerdictState.DEGRADED: "the line works badly: packets are lost or late",
    VerdictState.LAN_DOWN: "the school's router does not answer: look at its power and at the cable to this box",
    VerdictState.ISP_DOWN: "the router answers, the provider behind it does not: call the provider",
    VerdictState.DNS_FAULT: "the line works, the name server does not: names lead nowhere",
    VerdictState.CAPTIVE_PORTAL: "a login page is in the way: open a web page in a browser on this network",
    VerdictState.INTERNATIONAL_DOWN: "nothing abroad answers: call the provider",
    VerdictState.PLATFORM_DOWN: "the line works, a platform of the school does not",
    VerdictState.COLLECTOR_UNREACHABLE: "the line works, the collector does not answer: results wait here",
}
_DEVICE_WORDS = {
    DeviceLimit.CPU: "its processor was busy all the time",
    DeviceLimit.NIC: "its network port is no faster than that",
    DeviceLimit.WIFI: "its Wi-Fi is no faster than that; use a cable",
    DeviceLimit.BUFFERS: "the memory its system sets aside for connections is too small",
}


def rate(bps: float) -> str:
    """Return a bit rate as people say it, in Mbit/s."""
    mbps = bps / 1e6
    return f"{mbps:.0f} Mbit/s" if mbps >= 100 else f"{mbps:.1f} Mbit/s" if mbps >= 1 else f"{mbps:.2f} Mbit/s"


def volume(count: int) -> str:
    """Return a number of bytes as people say it."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def describe_uplink(way: OneOfUplinks, plan: Plan) -> str:
    """Return what an uplink is bound to, and what is measured on it, in one line."""
    budget = plan.budget
    cost = "no budget" if budget.bytes_per_month is None else f"{volume(budget.bytes_per_month)} a month"
    tests = f"{plan.speed_per_day} full tests a day" if plan.speed_enabled else "no full tests"
    checks = "floor checks" if plan.floors else "no floor checks (none is known, or they are off)"
    bound = " ".join(filter(None, (way.device, way.source))) or "bound to nothing"
    return f"{plan.role}, {bound}; {cost}; {tests}; {checks}; pings every {plan.ping_interval_s:.0f} s"


def milliseconds(seconds: float | None) -> str:
    """Return a duration in ms, a dash if there is none."""
    if seconds is None:
        return "–"
    digits = 2 if seconds < 0.001 else 1 if seconds < 0.1 else 0
    return f"{seconds * 1e3:.{digits}f} ms"


def failure_words(failure: Failure) -> str:
    """Return a failure as "connect: connection refused"."""
    return f"{failure.operation.replace('_', ' ')}: {failure.code.replace('_', ' ')}"


_NEXT_STEPS = {
    FailureCode.CONNECTION_REFUSED: "nothing listens there: is the server running, and the port right (8471)?",
    FailureCode.HTTP_STATUS: "what answers there offers no such test: is it a measurement server (port 8471, not the "
    "collector's 8470), and the floor within its --max-check-rate?",
    FailureCode.PROTOCOL_ERROR: "what answers is no measurement server, or something on the way changes the traffic",
    FailureCode.REDIRECTED: "a login page may be in the way: open a web page in a browser on this network",
    FailureCode.TLS_FAILED: "no encryption was agreed on: is it ws:// instead of wss://?",
    FailureCode.TLS_CERTIFICATE_INVALID: "the certificate is not trusted: does a filter open encrypted traffic?",
    FailureCode.TLS_CERTIFICATE_NOT_YET_VALID: "the certificate is not valid yet by this box's clock: run date, and if "
    "it is behind, sudo timedatectl set-ntp true; NTP (UDP port 123) must get out through the firewall",
    FailureCode.TLS_CERTIFICATE_EXPIRED: "the certificate has run out by this box's clock: run date, and if it is "
    "right, tell the operator of the server; if it is ahead, sudo timedatectl set-ntp true",
    FailureCode.DNS_NOT_FOUND: "the name is not known: check its spelling, then this box's DNS",
    FailureCode.DNS_TIMEOUT: "the name server does not answer: is the line up?",
    FailureCode.TIMEOUT: "no answer in time: is the line up, and no firewall in the way?",
    FailureCode.SERVER_BUSY: "the server tests other schools: try again in a minute",
    FailureCode.INCONCLUSIVE: "too little time or too few bytes to know: raise --max-duration or --max-bytes",
    FailureCode.NETWORK_UNREACHABLE: "this box has no way out: check its cable and its gateway",
    FailureCode.ENGINE_MISSING: "speedtest-cli is not installed: pip install 'linkbell[ookla]'",
}


CLOCK_CODES = (FailureCode.TLS_CERTIFICATE_NOT_YET_VALID, FailureCode.TLS_CERTIFICATE_EXPIRED)
"""What is most often the fault of this box's clock."""


def next_step(failure: Failure) -> str:
    """Return what a technician can do about a failure, nothing if there is nothing to say."""
    return _NEXT_STEPS.get(failure.code, "")


def unreachable(failure: Failure, today: date) -> str:
    """Return why a collector cannot be reached, and what to do where that is this box's clock.

    ``today`` is the date by that clock: whoever reads 1 January 1970 needs no more explanation.
    """
    says = f"this box believes it is {today:%-d %B %Y}"
    if failure.code is FailureCode.TLS_CERTIFICATE_NOT_YET_VALID:
        return (
            f"{says}, and so takes the collector's certificate for one that is not valid yet: its clock is wrong. Set "
            "it (sudo timedatectl set-ntp true), and let NTP (UDP port 123) out through the school's firewall"
        )
    if failure.code is FailureCode.TLS_CERTIFICATE_EXPIRED:
        return (
            f"{says}, and so takes the collector's certificate for one that has run out. If the date is wrong, set the "
            "clock (sudo timedatectl set-ntp true); if it is right, tell the operator of the collector"
        )
    return f"the collector cannot be reached ({failure.operation}: {failure.code})"


def describe(record: Record) -> str:
    """Return one line that says what the record says."""
    for kind, words in _DESCRIBED.items():
        if isinstance(record, kind):
            return str(words(record)).rstrip()
    return getattr(record, "kind", type(record).__name__)


def _event(record: EventRecord) -> str:
    details = ", ".join(f"{name} {value}" for name, value in record.details.items())
    return f"event  {record.event:<14} {details}"


def is_up(record: PingRecord) -> bool:
    """Say whether the host answers in some way: a gateway that ignores pings and answers ARP does."""
    return record.received > 0 or record.neighbour is NeighbourState.ANSWERS


def _dns(record: DnsRecord) -> str:
    where = "the system's resolver" if record.resolver is None else record.resolver
    if record.failure is not None:
        return f"DOWN   {record.name}: {failure_words(record.failure)} ({where})"
    if record.name == NO_SUCH_NAME:
        return f"true   {milliseconds(record.duration_s)}, no address for a name that does not exist ({where})"
    return f"up     {milliseconds(record.duration_s)}, {record.name} ({where})"


def _http(record: HttpRecord) -> str:
    if record.failure is not None:
        status = "" if record.status is None else f", status {record.status}"
        return f"DOWN   {failure_words(record.failure)}{status} ({record.url})"
    return f"up     {milliseconds(record.duration_s)}, status {record.status} ({record.url})"


def _ping(record: PingRecord) -> str:
    if record.failure is not None:
        return f"DOWN   {failure_words(record.failure)}"
    method = record.method if record.socket is None else f"{record.method}, {record.socket} socket"
    if record.received == 0 and is_up(record):
        return f"up     answers ARP and no pings ({record.host})"
    if record.received == 0:
        codes = ", ".join(f"{count} × {code.replace('_', ' ')}" for code, count in record.failures.items())
        return f"DOWN   no reply from {record.host}: {codes} ({method})"
    lost = f"{record.sent - record.received} of {record.sent} lost" if record.received < record.sent else "none lost"
    return f"up     {milliseconds(record.rtt_mean_s)}, {lost} ({record.host}, {method})"


def _speed(record: SpeedRecord) -> str:
    if record.failure is not None:
        return f"FAILED {failure_words(record.failure)} ({record.server})"
    parts = [f"{name} {_direction(result)}" for name, result in _directions(record)]
    idle = "" if record.rtt_idle_s is None else f", idle round trip {milliseconds(record.rtt_idle_s)}"
    return f"{', '.join(parts)}{idle} ({record.server})"


def explain(record: SpeedRecord) -> list[str]:
    """Return what a speed leaves out, in plain sentences, one a line; nothing if nothing is known."""
    lines = [_under_load(record), _others(record), *(_limit(name, one) for name, one in _directions(record))]
    return [line for line in lines if line]


def _directions(record: SpeedRecord) -> list[tuple[str, SpeedResult]]:
    named = (("download", record.download), ("upload", record.upload))
    return [(name, result) for name, result in named if result is not None]


def _under_load(record: SpeedRecord) -> str:
    loaded = {name: result.rtt_loaded_s for name, result in _directions(record) if result.rtt_loaded_s is not None}
    if not loaded or record.rtt_idle_s is None or record.bufferbloat is None:
        return ""
    grade = record.bufferbloat
    times = ", ".join(f"{milliseconds(rtt_s)} while {name}ing" for name, rtt_s in loaded.items())
    idle, worst = milliseconds(record.rtt_idle_s), max(loaded, key=lambda name: loaded[name])
    words = f"{_GRADE_WORDS[grade]} while somebody {worst}s"
    return f"under load: {times}, {idle} when idle (grade {grade}): {words}"


def _others(record: SpeedRecord) -> str:
    others_bps = record.others_during_bps
    best_bps = max((result.bps or 0.0 for _, result in _directions(record)), default=0.0)
    if others_bps is None or others_bps < NOTABLE_SHARE * best_bps:
        return ""
    return f"others used {rate(others_bps)} meanwhile: the speed is what they left"


def _limit(name: str, result: SpeedResult) -> str:
    if result.limited_by is LimitedBy.SERVER:
        return f"{name}: the measurement server was the limit, not the line"
    if result.device_limit is None:
        return ""
    return f"{name}: this box was the limit, not the line: {_DEVICE_WORDS[result.device_limit]}"


def _direction(result: SpeedResult) -> str:
    if result.bps is None:
        assert result.failure is not None
        return f"FAILED ({failure_words(result.failure)})"
    return f"{rate(result.bps)} ({volume(result.bytes)} in {result.duration_s:.1f} s)"


def _check(record: CheckRecord) -> str:
    way = "" if record.direction is Direction.DOWNLOAD else " upwards"
    if record.passed is None or record.bps is None:
        assert record.failure is not None
        return (
            f"Whether the line carries {rate(record.floor_bps)}{way} could not be found out: "
            f"{failure_words(record.failure)} ({volume(record.bytes)}; {record.server})"
        )
    if record.passed:
        answer = f"The line carries at least {rate(record.floor_bps)}{way}."
    else:
        answer = f"The line carries {rate(record.bps)}{way}, less than its floor of {rate(record.floor_bps)}."
    closely = "" if record.sure else " It was close: the best estimate decided."
    rtt = "" if record.rtt_loaded_s is None else f", round trip {milliseconds(record.rtt_loaded_s)} meanwhile"
    idle = "" if record.rtt_idle_s is None else f" ({milliseconds(record.rtt_idle_s)} idle)"
    return f"{answer}{closely} ({volume(record.bytes)} in {record.duration_s:.1f} s{rtt}{idle if rtt else ''})"


def advice(error: ErrorReply) -> str:
    """Return what the collector says, and what it advises, as sentences."""
    parts = [part.rstrip(".") for part in (error.message, error.action or "") if part]
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts)


_DESCRIBED: dict[type[Record], Callable[[Any], str]] = {
    PingRecord: lambda record: f"ping   {record.target:<14} {_ping(record)}",
    DnsRecord: lambda record: f"dns    {record.target:<14} {_dns(record)}",
    HttpRecord: lambda record: f"http   {record.target:<14} {_http(record)}",
    SpeedRecord: lambda record: f"speed  {record.engine:<14} {_speed(record)}",
    CheckRecord: _check,
    VerdictRecord: lambda record: f"now    {record.verdict:<14} {_VERDICT_WORDS[record.verdict]}",
    EventRecord: _event,
    SkipRecord: lambda record: f"skip   {record.skipped:<14} {record.reason}",
}
