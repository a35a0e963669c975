"""The closed lists of words that appear on the wire. A word once published is never given another meaning."""

from enum import StrEnum


class RecordKind(StrEnum):
    """What a record is about."""

    PING = "ping"
    DNS = "dns"
    HTTP = "http"
    SPEED = "speed"
    CHECK = "check"
    VERDICT = "verdict"
    EVENT = "event"
    SKIP = "skip"


class Layer(StrEnum):
    """Where on the way out of the school a target lies, nearest first."""

    GATEWAY = "gateway"
    ISP = "isp"
    DNS = "dns"
    DOMESTIC = "domestic"
    INTERNATIONAL = "international"
    PLATFORM = "platform"
    COLLECTOR = "collector"


class PingMethod(StrEnum):
    """How round trips were timed."""

    ICMP = "icmp"
    TCP = "tcp"


class PingSocket(StrEnum):
    """Which kind of socket the kernel allowed: unprivileged ICMP, raw ICMP, or a TCP connection."""

    DATAGRAM = "datagram"
    RAW = "raw"
    STREAM = "stream"


class NeighbourState(StrEnum):
    """Whether a host on the same network answers address resolution (ARP, RFC 826; neighbour discovery, RFC 4861)."""

    ANSWERS = "answers"
    SILENT = "silent"


class Engine(StrEnum):
    """The program and protocol a speed test was made with."""

    NDT7 = "ndt7"
    OOKLA = "ookla"


class ServerScope(StrEnum):
    """Where the measurement server stands, seen from the school."""

    COLLECTOR = "collector"
    DOMESTIC = "domestic"
    INTERNATIONAL = "international"
    UNKNOWN = "unknown"


class Stop(StrEnum):
    """Why one direction of a speed test ended."""

    STABLE = "stable"
    VARYING = "varying"
    TIME = "time"
    BYTES = "bytes"
    SERVER = "server"


class LimitedBy(StrEnum):
    """What kept the speed from being higher."""

    LINE = "line"
    DEVICE = "device"
    SERVER = "server"
    UNKNOWN = "unknown"


class DeviceLimit(StrEnum):
    """What of the box kept the speed from being higher: its processor, network port, radio, or socket buffers."""

    CPU = "cpu"
    NIC = "nic"
    WIFI = "wifi"
    BUFFERS = "buffers"


class Grade(StrEnum):
    """How much longer round trips take while the line is full, in dslreports' grades: ``A+`` best, ``F`` worst."""

    A_PLUS = "A+"
    A = "A"
    B = "B"
    C = "C"
    D = "D"
    F = "F"


class Trigger(StrEnum):
    """Why a test ran when it ran."""

    SLOT = "slot"
    RETEST = "retest"
    MANUAL = "manual"


class Direction(StrEnum):
    """Seen from the school."""

    DOWNLOAD = "download"
    UPLOAD = "upload"


class VerdictState(StrEnum):
    """Where the fault is, decided from the layers."""

    OK = "ok"
    DEGRADED = "degraded"
    LAN_DOWN = "lan_down"
    ISP_DOWN = "isp_down"
    DNS_FAULT = "dns_fault"
    CAPTIVE_PORTAL = "captive_portal"
    INTERNATIONAL_DOWN = "international_down"
    PLATFORM_DOWN = "platform_down"
    COLLECTOR_UNREACHABLE = "collector_unreachable"


class EventName(StrEnum):
    """What happened to the agent or its line."""

    START = "start"
    STOP = "stop"
    BOOT = "boot"
    POWER_GAP = "power_gap"
    FAILOVER = "failover"
    CONFIGURATION_APPLIED = "configuration_applied"
    CONFIGURATION_REFUSED = "configuration_refused"
    CLOCK_STEPPED = "clock_stepped"
    CREDENTIAL_REFUSED = "credential_refused"
    SPOOL_SET_ASIDE = "spool_set_aside"
    PROBE_FAULT = "probe_fault"
    DATA_USE = "data_use"


class SkipReason(StrEnum):
    """Why something was not measured."""

    BUDGET = "budget"
    BUSY = "busy"
    SERVER_BUSY = "server_busy"
    CLOSED = "closed"
    OFFLINE = "offline"
    DISABLED = "disabled"
    NO_SERVER = "no_server"
    MISSED = "missed"


class BudgetProfile(StrEnum):
    """What kind of line it is, seen from its bill."""

    UNMETERED = "unmetered"
    METERED = "metered"
    SATELLITE = "satellite"


class UplinkRole(StrEnum):
    """What a way out of the school is for: used while it works, or while that one does not."""

    PRIMARY = "primary"
    BACKUP = "backup"


class ClockQuality(StrEnum):
    """How far the time of a record can be trusted."""

    SYNCED = "synced"
    UNSYNCED = "unsynced"
