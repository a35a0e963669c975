"""What the collector knows, in its own words. No I/O here; times are microseconds since 1970 (``_us``)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NamedTuple
from uuid import UUID

from linkbell_collector.loss import NO_ACCOUNT, Account
from linkbell_collector.profile import NO_WISHES, Profile, Wishes
from linkbell_wire import AnyRecord, CheckRecord, EventRecord, Rejection, SkipRecord


class AgentState(StrEnum):
    """``pending`` agents may send: their records are kept, and shown once an operator has approved them."""

    ACTIVE = "active"
    PENDING = "pending"
    REVOKED = "revoked"


class TimeQuality(IntEnum):
    """How far the time of a stored record can be trusted; the number is what the database keeps."""

    REDATED = 0
    """Of the boot that sent it: dated from the collector's own clock."""
    SYNCED = 1
    """Of an earlier boot, whose wall clock was synchronised."""
    UNSYNCED = 2
    """Of an earlier boot, whose wall clock nobody vouches for. Never enters live state."""


@dataclass(frozen=True, slots=True)
class School:
    """A site. Rates in bits per second, coordinates in degrees; what is not known is ``None``.

    ``contract_`` rates are what is paid for; ``wishes`` what its agents are asked to do; ``country`` two letters (ISO
    3166-1); ``giga_id`` the id in Giga's school master.
    """

    id: str
    name: str | None = None
    region: str | None = None
    district: str | None = None
    provider: str | None = None
    technology: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    timezone: str | None = None
    download_floor_bps: float | None = None
    upload_floor_bps: float | None = None
    approved: bool = True
    country: str | None = None
    giga_id: str | None = None
    contract_download_bps: float | None = None
    contract_upload_bps: float | None = None
    wishes: Wishes = NO_WISHES
    simulated: bool = False

    @property
    def title(self) -> str:
        """The name for people."""
        return self.name or self.id


@dataclass(frozen=True, slots=True)
class AgentReport:
    """What an agent said of itself with its newest batch, and what that means for its clock."""

    version: str
    spooled: int
    dropped: int
    rejected: int
    clock_offset_s: float
    received_us: int


@dataclass(frozen=True, slots=True)
class Agent:
    """One installed box. ``key`` is the store's own number, ``id`` the public name."""

    key: int
    id: str
    school: str
    state: AgentState
    name: str | None = None
    report: AgentReport | None = None
    account: Account = NO_ACCOUNT
    enrolled_us: int = 0


@dataclass(frozen=True, slots=True)
class Token:
    """A join token, without its secret. ``school`` or ``region``, never both."""

    id: str
    school: str | None
    region: str | None
    uses: int
    used: int
    expires_us: int
    created_us: int
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Directory:
    """All schools by id, agents by the hash of their credential, regions by name: small, and held in memory whole."""

    schools: Mapping[str, School] = field(default_factory=dict)
    agents: Mapping[bytes, Agent] = field(default_factory=dict)
    regions: Mapping[str, Profile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SchoolEdits:
    """Many schools at once: new ones, and changed ones with the names of the fields that changed."""

    added: Sequence[School] = ()
    changed: Sequence[tuple[School, frozenset[str]]] = ()


class DatedRecord(NamedTuple):
    """A record with the time the collector believes."""

    record: AnyRecord
    at_us: int
    quality: TimeQuality


class LiveRecord(NamedTuple):
    """A stored record on its way into live state."""

    school: str
    dated: DatedRecord


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which stored records live state needs: of each series of these kinds the newest, going back until one
    ``settles`` it, but ``at_most`` so many."""

    kinds: Sequence[str]
    settles: Callable[[AnyRecord], bool]
    at_most: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One batch, read and dated, as the store is asked to keep it.

    ``refused`` have readable sequence numbers. Days are counted in the time zone ``zone``.
    """

    agent: int
    stream: UUID
    records: Sequence[DatedRecord]
    refused: Sequence[Rejection]
    report: AgentReport
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a delivery once it is on disk. ``new`` excludes what was there before."""

    new: Sequence[DatedRecord]
    duplicate: int
    account: Account


@dataclass(frozen=True, slots=True)
class Removed:
    """How much of the simulated is gone: schools, agents and records."""

    schools: int
    agents: int
    records: int


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The outcome of an enrolment."""

    agent: Agent
    school_created: bool


def series_target(record: AnyRecord) -> str:
    """Return what, besides kind and uplink, tells one series of an agent from another; may be empty."""
    if isinstance(record, CheckRecord):
        return record.direction.value
    if isinstance(record, SkipRecord):
        return record.skipped
    if isinstance(record, EventRecord):
        return record.event.value
    return getattr(record, "target", "")
