"""Reading what people type: rates, sizes, durations, addresses, dates. Pure; raises ``ValueError`` with the reason."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

_SCALES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_NUMBER = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([kMG]?)\s*$")
_PERIODS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_PERIOD = re.compile(r"^(\d{1,6})([mhdw])$")
MAX_PORT = 65_535
MAX_PERIOD = timedelta(days=3660)


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen. Port 0 lets the system pick a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True, repr=False)
class DatabaseUrl:
    """Where a PostgreSQL database is. As text it is shown without what is secret; ``secret`` is all of it."""

    secret: str

    def __str__(self) -> str:
        parts = urlsplit(self.secret)
        place = parts.netloc.rpartition("@")
        user = place[0].partition(":")[0]
        return f"{parts.scheme}://{user}{place[1]}{place[2]}{parts.path}"

    def __repr__(self) -> str:
        return f"DatabaseUrl({self})"


def database_url(text: str) -> DatabaseUrl:
    """Read the address of a PostgreSQL database. What is wrong with it is said without repeating it."""
    try:
        parts = urlsplit(text.strip())
        good = parts.scheme in ("postgresql", "postgres") and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise ValueError("is not an address such as postgresql://user:password@host:5432/linkbell")
    return DatabaseUrl(text.strip())


def bracketed(host: str) -> str:
    """Return ``host`` as it is written before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def listen(text: str) -> Listen:
    """Read ``HOST:PORT``; an IPv6 address is in brackets, and an empty host means every address."""
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r} is ambiguous; put an IPv6 address in brackets: [::1]:8470")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > MAX_PORT:
        raise ValueError(f"{text!r} is not HOST:PORT, for instance 127.0.0.1:8470 or [::1]:0")
    _require_host_name(host, text)
    return Listen(host or "0.0.0.0", int(port))  # noqa: S104 - an empty host asks for every address


def _require_host_name(host: str, text: str) -> None:
    try:
        host.encode("idna")  # as the system's resolver will be asked; empty or endless labels fail
    except UnicodeError as error:
        raise ValueError(f"{text!r} has no host name before the port: {host!r} cannot be one") from error
    if not host.isprintable():
        raise ValueError(f"{text!r} has no host name before the port: it holds characters that cannot be seen")


def scaled(value: object) -> float:
    """Read a positive number, with ``k``, ``M`` or ``G`` for thousands, millions, thousand millions."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is not a number")
    matched = _NUMBER.match(str(value))
    if matched is None:
        raise ValueError(f"{value!r} is not a positive number such as 8M, 500k or 20000000")
    number = float(matched[1]) * _SCALES[matched[2]]
    if number <= 0:
        raise ValueError(f"{value!r} is not more than zero")
    return number


def websocket_url(text: str) -> str:
    """Read the address of a measurement server."""
    parts = urlsplit(text)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"{text!r} is not an address such as ws://measure.example.org:8471")
    return text.rstrip("/")


def country_code(text: str) -> str:
    """Read the two letters of a country. Raises ``ValueError``."""
    code = text.strip().upper()
    if not (len(code) == 2 and code.isascii() and code.isalpha()):
        raise ValueError(f"{text!r} is not a country: write two letters (ISO 3166-1), such as KZ")
    return code


def moment_us(text: str, now: datetime) -> int:
    """Read a period from ``now`` on (``90m``, ``24h``, ``7d``) or an ISO date or time, in UTC unless it says so."""
    period = _PERIOD.match(text.strip())
    if period is not None:
        span = int(period[1]) * _PERIODS[period[2]]
        if not timedelta(0) < span <= MAX_PERIOD:
            raise ValueError(f"{text!r} is not between a minute and ten years")
        moment = now + span
    else:
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError as error:
            raise ValueError(f"{text!r} is neither a period such as 24h or 7d nor a date such as 2026-09-01") from error
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        if not now < moment <= now + MAX_PERIOD:
            raise ValueError(f"{text!r} is not in the next ten years")
    return int(moment.timestamp() * 1_000_000)
