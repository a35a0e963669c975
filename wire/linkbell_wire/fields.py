"""The bounded types every model of the wire is made of.

Bounds are wide enough for any honest box and narrow enough that a broken or hostile one cannot fill a disk,
a label or a chart with nonsense.
"""

from datetime import UTC, datetime
from typing import Annotated

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


def _is_real_text(value: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ValueError("must not contain control characters")
    return value


def _in_utc(value: datetime) -> datetime:
    if not 1970 <= value.year <= 2199:
        raise ValueError("must lie between the years 1970 and 2199")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:  # pragma: no cover - the year check leaves no room for it
        raise ValueError("is not a time that exists in UTC") from error


def _as_iso(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$", max_length=MAX_NAME_LENGTH)]
"""An identifier that may become a label or part of a URL: letters, digits, and ``_ . : -``."""

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_LENGTH), AfterValidator(_is_real_text)]
"""A short piece of text for people, any script."""

Host = Annotated[str, StringConstraints(min_length=1, max_length=MAX_HOST_LENGTH, pattern=r"^[^\s/?#@]+$")]
"""A host name or an address, as configured."""

Url = Annotated[str, StringConstraints(pattern=r"^(https?|wss?)://[^\s]+$", max_length=MAX_URL_LENGTH)]

Timestamp = Annotated[AwareDatetime, AfterValidator(_in_utc), PlainSerializer(_as_iso, when_used="json")]
"""UTC, to the millisecond on the wire. The year 1970 is legal: a box without a clock battery starts there."""

Seconds = Annotated[float, Field(ge=0, le=86_400)]
"""A duration of something measured: never over a day."""

Uptime = Annotated[float, Field(ge=0, le=4e9)]
"""Seconds of CLOCK_BOOTTIME: since the box was started, sleep included."""

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
ByteCount = Annotated[int, Field(ge=0, le=MAX_COUNT)]
BitRate = Annotated[float, Field(ge=0, le=1e13)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Packets = Annotated[int, Field(ge=0, le=100_000)]
