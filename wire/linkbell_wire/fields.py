"""The bounded types every model of the wire is made of.

Bounds are wide enough for any honest box and narrow enough that a broken or hostile one cannot fill a disk,
a label or a chart with nonsense.
"""

import re
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
)

MAX_COUNT = 2**53 - 1
"""Largest integer that survives every JSON reader."""

MAX_NAME_LENGTH = 64
MAX_HOST_LENGTH = 253
MAX_URL_LENGTH = 2048
MAX_TEXT_LENGTH = 256


class WireModel(BaseModel):
    """Frozen, strict about types, tolerant of fields from a newer minor version."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        allow_inf_nan=False,
        ser_json_inf_nan="null",
        defer_build=True,
    )


# Control characters (C0, C1), line separators, and what makes text read in another order than it is written.
_UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
_NOT_TEXT = re.compile(f"[{_UNPRINTABLE}]")


def _is_real_text(value: str) -> str:
    if _NOT_TEXT.search(value):
        raise ValueError("must not contain control characters")
    return value


def _has_host_and_port(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must name a host, and a port from 1 to 65535 if any")
    return value


def _in_utc(value: datetime) -> datetime:
    """Return the time as the wire has it: in UTC, whole milliseconds, so that what was sent equals what is read."""
    try:
        utc = value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is not a time that exists in UTC") from error
    if not 1970 <= utc.year <= 2199:
        raise ValueError("must lie between the years 1970 and 2199")
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


def _as_iso(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$", max_length=MAX_NAME_LENGTH)]
"""An identifier that may become a label or part of a URL: letters, digits, and ``_ . : -``."""

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_LENGTH), AfterValidator(_is_real_text)]
"""A short piece of text for people, any script."""

Host = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_HOST_LENGTH, pattern=rf"^[^\s{_UNPRINTABLE}/?#@]+$")
]
"""A host name or an address, as configured."""

Url = Annotated[
    str,
    StringConstraints(max_length=MAX_URL_LENGTH, pattern=rf"^(https?|wss?)://[^\s{_UNPRINTABLE}]+$"),
    AfterValidator(_has_host_and_port),
]
"""A link that may be shown: nothing but the web's schemes."""

WebUrl = Annotated[
    str,
    StringConstraints(max_length=MAX_URL_LENGTH, pattern=rf"^https?://[^\s{_UNPRINTABLE}]+$"),
    AfterValidator(_has_host_and_port),
]
"""A page that can be fetched."""

Timestamp = Annotated[AwareDatetime, AfterValidator(_in_utc), PlainSerializer(_as_iso, when_used="json")]
"""UTC, to the millisecond on the wire. The year 1970 is legal: a box without a clock battery starts there."""

Seconds = Annotated[float, Field(ge=0, le=86_400)]
"""A duration of something measured: never over a day."""

Uptime = Annotated[float, Field(ge=0, le=4e9)]
"""Seconds of CLOCK_BOOTTIME: since the box was started, sleep included."""

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
ByteCount = Annotated[int, Field(ge=0, le=MAX_COUNT)]
BitRate = Annotated[float, Field(ge=0, le=1e13)]
RoundTripsPerMinute = Annotated[float, Field(ge=0, le=1e7)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Packets = Annotated[int, Field(ge=0, le=100_000)]
Number = Annotated[float, Field(ge=-1e15, le=1e15)]
"""A number whose meaning the wire does not know."""

WholeNumber = Annotated[int, Field(ge=-MAX_COUNT, le=MAX_COUNT)]
"""A whole number whose meaning the wire does not know."""
