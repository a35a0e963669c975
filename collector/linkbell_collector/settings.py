"""All settings of the collector: one table, one typed object, built once from defaults < file < environment < flags."""

# ruff: noqa: RUF009 - ``_setting`` makes a dataclass field; the check does not see through it

import difflib
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from linkbell_collector import values
from linkbell_collector.errors import UsageError
from linkbell_collector.lifetimes import Lifetimes
from linkbell_collector.profile import Profile, ProfileError, read_profile
from linkbell_collector.resolution import Defaults
from linkbell_collector.store.retention import Retention
from linkbell_wire.batch import MAX_BATCH_RECORDS, MAX_BODY_BYTES

ENVIRONMENT_PREFIX = "LINKBELL_COLLECTOR_"
DEFAULT = "default"
_HOUR_S = 3600
_DAY_S = 86_400


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is not text")
    return value


def _path(value: object) -> Path:
    return Path(_text(value)).expanduser()


def _listen(value: object) -> values.Listen:
    return values.listen(_text(value))


def _url(value: object) -> str:
    return values.websocket_url(_text(value))


def _database(value: object) -> values.DatabaseUrl:
    if not isinstance(value, str):
        raise ValueError("is not text")  # never the value: it may hold a password
    return values.database_url(value)


def _between(low: float, high: float) -> Callable[[object], float]:
    def parse(value: object) -> float:
        number = values.scaled(value)
        if not low <= number <= high:
            raise ValueError(f"{value!r} is not between {low:g} and {high:g}")
        return number

    return parse


def _whole(low: int, high: int) -> Callable[[object], int]:
    parse = _between(low, high)
    return lambda value: int(parse(value))


def _country(value: object) -> str:
    return values.country_code(_text(value))


def _countries(value: object) -> dict[str, Profile]:
    if isinstance(value, str):  # in the environment there are no tables
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(f'{value!r} is not JSON such as {{"KZ": {{"timezone": "Asia/Almaty"}}}}') from error
    if not isinstance(value, dict):
        raise ValueError(
            f"{value!r} is not a table with one table of settings for each country, such as [countries.KZ]"
        )
    return {values.country_code(name): _profile(name, content) for name, content in value.items()}


def _profile(country: str, content: object) -> Profile:
    try:
        return read_profile(content)
    except ProfileError as error:
        raise ValueError(f"{country}.{error}") from error


def _level(value: object) -> str:
    levels = ("debug", "info", "warning", "error")
    if _text(value).lower() not in levels:
        raise ValueError(f"{value!r} is not one of {', '.join(levels)}")
    return _text(value).lower()


def _setting(default: Any, parse: Callable[[object], Any], help_text: str) -> Any:
    return field(default=default, metadata={"parse": parse, "help": help_text})


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole table. Seconds, bits per second and bytes, as the names say; ``None`` means "not set"."""

    data: Path = _setting(Path("/var/lib/linkbell-collector"), _path, "folder of the database")
    database: values.DatabaseUrl | None = _setting(
        None, _database, "PostgreSQL database, postgresql://user:password@host/name; unset: SQLite in the data folder"
    )
    raw_days: float = _setting(
        90.0, _between(1, 3650), "records are kept for so long after they were received; sums of them longer"
    )
    hourly_days: float = _setting(
        730.0, _between(2, 36_500), "sums per hour are kept for so long; those per day for ever"
    )
    listen: values.Listen = _setting(
        values.Listen("127.0.0.1", 8470), _listen, "HOST:PORT to listen on; port 0 picks a free one"
    )
    measurement_url: str | None = _setting(
        None,
        _url,
        "measurement server that agents are told; unset: port 8471 of the host name under which they reach us",
    )
    default_download_floor_bps: float | None = _setting(
        8e6, _between(1, 1e13), "download floor of schools without their own"
    )
    default_upload_floor_bps: float | None = _setting(
        None, _between(1, 1e13), "upload floor of schools without their own"
    )
    ping_interval_s: float | None = _setting(
        None, _between(10, _DAY_S), "how often agents ping each target; unset: each agent decides"
    )
    speed_tests_per_day: int | None = _setting(
        None, _whole(1, 288), "full speed tests an agent makes in a day; unset: each agent decides"
    )
    country: str | None = _setting(None, _country, "country, in two letters, of schools that name none")
    countries: Mapping[str, Profile] | None = _setting(
        None, _countries, "what holds for the schools of a country where neither they nor their region say anything"
    )
    silent_after_s: float = _setting(
        300.0, _between(10, 30 * _DAY_S), "a school that has not reported for so long is silent (linkbell_school_up 0)"
    )
    reading_ttl_s: float = _setting(
        900.0,
        _between(10, 30 * _DAY_S),
        "pings, look-ups and fetches older than this (and than 3 ping intervals) leave /metrics/schools",
    )
    speed_ttl_s: float = _setting(
        36.0 * _HOUR_S, _between(60, 90 * _DAY_S), "speeds and floor checks older than this leave /metrics/schools"
    )
    school_ttl_s: float = _setting(
        7.0 * _DAY_S, _between(10, 365 * _DAY_S), "a school silent for so long leaves /metrics/schools altogether"
    )
    max_body_bytes: int = _setting(
        MAX_BODY_BYTES, _whole(1024, MAX_BODY_BYTES), "largest request body, counted after decompression"
    )
    body_timeout_s: float = _setting(60.0, _between(0.1, 600), "a body must have arrived whole after this time")
    max_waiting_records: int = _setting(
        20_000, _whole(MAX_BATCH_RECORDS, 10**7), "records that may wait for a commit; more are answered 503"
    )
    max_commit_records: int = _setting(5_000, _whole(1, 10**6), "records committed together at most")
    database_max_bytes: int | None = _setting(
        None, _whole(1 << 16, 1 << 46), "largest size of the database; when it is reached, agents keep their records"
    )
    shutdown_s: float = _setting(10.0, _between(0.1, 300), "time for open requests when asked to stop")
    log_level: str = _setting("info", _level, "debug, info, warning or error")

    @property
    def retention(self) -> Retention:
        """How long what is kept: hours never shorter than the records they sum up."""
        return Retention(self.raw_days, max(self.hourly_days, self.raw_days))

    @property
    def defaults(self) -> Defaults:
        """What holds for schools of which nobody has said anything more."""
        said: dict[str, object] = {
            "download_floor_bps": self.default_download_floor_bps,
            "upload_floor_bps": self.default_upload_floor_bps,
            "ping": self.ping_interval_s and {"interval_s": self.ping_interval_s},
            "speed": self.speed_tests_per_day and {"per_day": self.speed_tests_per_day},
        }
        everywhere = read_profile({name: value for name, value in said.items() if value is not None})
        return Defaults(everywhere, self.countries or {}, self.country)

    @property
    def lifetimes(self) -> Lifetimes:
        """How long things count as current: readings never less than three rounds of pings, if we set those."""
        reading_ttl_s = max(self.reading_ttl_s, 3 * (self.ping_interval_s or 0))
        return Lifetimes(self.silent_after_s, reading_ttl_s, self.speed_ttl_s, self.school_ttl_s)


@dataclass(frozen=True, slots=True)
class Effective:
    """Settings, and where each came from."""

    settings: Settings
    origins: Mapping[str, str]


NAMES = tuple(item.name for item in fields(Settings))


def build(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, str | None]) -> Effective:
    """Build the settings. Raises :class:`UsageError` for an unknown key, a bad value or an unreadable file."""
    chosen: dict[str, Any] = {}
    origins = dict.fromkeys(NAMES, DEFAULT)
    for origin, layer in (_file_layer(file), _environment_layer(environment), _flag_layer(flags)):
        for name, value in layer.items():
            where = origin(name)
            if name not in NAMES:
                raise UsageError(f"{where}: there is no such setting{_nearest(name)}")
            chosen[name] = _parse(name, value, where)
            origins[name] = where
    return Effective(Settings(**chosen), origins)


def help_of(name: str) -> str:
    """Return what a setting is for."""
    return str(next(item for item in fields(Settings) if item.name == name).metadata["help"])


_Layer = tuple[Callable[[str], str], Mapping[str, object]]


def _file_layer(file: Path | None) -> _Layer:
    if file is None:
        return (lambda name: name), {}
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the configuration file {file} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the configuration file {file} is not TOML: {error}") from error
    return (lambda name: f"{file}, {name}"), content


def _environment_layer(environment: Mapping[str, str]) -> _Layer:
    ours = {
        name.removeprefix(ENVIRONMENT_PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(ENVIRONMENT_PREFIX) and name != f"{ENVIRONMENT_PREFIX}CONFIG"
    }
    found = {name: value for name, value in ours.items() if name in NAMES or not _is_service_link(name)}
    return (lambda name: f"environment, {ENVIRONMENT_PREFIX}{name.upper()}"), found


def _is_service_link(name: str) -> bool:
    """Tell what Kubernetes puts into every container of a namespace with a service called linkbell-collector.

    These are ``..._SERVICE_HOST``, ``..._SERVICE_PORT`` and ``..._PORT``, with more behind the last two.
    """
    words = name.split("_")
    return "port" in words or "service" in words


def _flag_layer(flags: Mapping[str, str | None]) -> _Layer:
    found = {name: value for name, value in flags.items() if value is not None}
    return (lambda name: f"flag --{name.replace('_', '-')}"), found


def _parse(name: str, value: object, where: str) -> Any:
    parse = next(item for item in fields(Settings) if item.name == name).metadata["parse"]
    try:
        return parse(value)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), NAMES, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(NAMES)}"
