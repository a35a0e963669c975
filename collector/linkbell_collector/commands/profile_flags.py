"""The flags that set something for a school or a region, and ``--settings FILE`` for what is too long for a flag."""

import argparse
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linkbell_collector.errors import UsageError
from linkbell_collector.profile import NOTHING, Profile, ProfileError, merge, read_profile, without


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a whole number") from error


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a number") from error


def _list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


@dataclass(frozen=True, slots=True)
class _Flag:
    name: str
    path: str
    metavar: str
    help: str
    read: Callable[[str], object] = str


FLAGS = (
    _Flag("--timezone", "timezone", "ZONE", "such as Asia/Almaty"),
    _Flag("--provider", "provider", "TEXT", "who sells the line"),
    _Flag("--download-floor", "download_floor_bps", "RATE", "below this it is slow; bits per second, such as 20M"),
    _Flag("--upload-floor", "upload_floor_bps", "RATE", "the same for upload"),
    _Flag("--contract-download", "contract_download_bps", "RATE", "download speed that is paid for, such as 100M"),
    _Flag("--contract-upload", "contract_upload_bps", "RATE", "the same for upload"),
    _Flag("--weekdays", "calendar.weekdays", "DAYS", "school days: mon-fri, mon-sat or mon,wed,fri"),
    _Flag("--hours", "calendar.hours", "HOURS", "opening hours: 08:00-13:00, 14:00-19:00; sat 08:00-13:00"),
    _Flag("--holidays", "calendar.holidays", "DAYS", "without school: 2026-03-22,2026-03-21/2026-03-29", _list),
    _Flag("--terms", "calendar.terms", "DAYS", "days in a term, written like holidays; none: always", _list),
    _Flag("--budget-profile", "budget.profile", "KIND", "kind of line: unmetered, metered or satellite"),
    _Flag("--budget", "budget.bytes_per_month", "SIZE", "bytes a month that measuring may use, such as 5G"),
    _Flag("--billing-day", "budget.billing_day", "DAY", "day on which a month begins, 1 to 28", _whole),
    _Flag("--check-interval", "check.interval_s", "SECONDS", "from one floor check to the next", _number),
    _Flag("--speed-tests-per-day", "speed.per_day", "N", "full speed tests in a day", _whole),
    _Flag("--ping-interval", "ping.interval_s", "SECONDS", "from one round of pings to the next", _number),
    _Flag("--portal-url", "portal_url", "URL", "page that answers 204 in the clear, or: collector"),
)


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add all of them."""
    group = parser.add_argument_group("settings", "what holds here; what is not given stays as it was")
    for flag in FLAGS:
        group.add_argument(flag.name, metavar=flag.metavar, help=flag.help)
    group.add_argument(
        "--settings",
        metavar="FILE",
        type=Path,
        help="TOML or JSON with all of these, and targets, platforms, dns, uplinks",
    )
    group.add_argument(
        "--clear", metavar="NAME", action="append", default=[], help="no longer set here, such as calendar.hours"
    )


def changed(parsed: argparse.Namespace, before: Profile = NOTHING) -> Profile:
    """Return ``before`` with what the arguments ask for. Raises ``UsageError``."""
    profile = before
    for path in parsed.clear:
        profile = _refused(f"--clear {path}", without, profile, path)
    if parsed.settings is not None:
        profile = merge(_refused(str(parsed.settings), read_profile, _content(parsed.settings)), profile)
    for flag in FLAGS:
        text = getattr(parsed, flag.name[2:].replace("-", "_"))
        if text is not None:
            profile = merge(_refused(flag.name, _one, flag, text), profile)
    return profile


def _one(flag: _Flag, text: str) -> Profile:
    section, _, name = flag.path.partition(".")
    value = flag.read(text)
    return read_profile({section: {name: value} if name else value})


def _refused(where: str, read: Callable[..., Profile], *arguments: Any) -> Profile:
    try:
        return read(*arguments)
    except ProfileError as error:
        raise UsageError(f"{where}: {error.reason if where.startswith('--') else error}") from error
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error


def _content(file: Path) -> Mapping[str, object]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        content = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # TOML's, JSON's and UTF-8's are such
        raise UsageError(f"{file} is neither TOML nor JSON: {error}") from error
    assert isinstance(content, dict)
    return content
