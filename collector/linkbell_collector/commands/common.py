"""What the commands share: settings from the arguments, a store for a moment, tables and JSON on standard output."""

import argparse
import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from linkbell_collector import settings as settings_module
from linkbell_collector.clock import from_us
from linkbell_collector.errors import RefusedError, UsageError
from linkbell_collector.settings import Effective, Settings
from linkbell_collector.store.interface import Store

T = TypeVar("T")
A_NAME = "letters, digits and _ . : - without spaces, at most 64, beginning with a letter or digit"
A_TEXT = "one line of at most 256 characters"
Subparsers = Any  # argparse's own type for it is private


def add_command(
    subparsers: Subparsers, name: str, help_text: str, epilog: str, parents: Sequence[argparse.ArgumentParser] = ()
) -> argparse.ArgumentParser:
    """Add a command whose help ends in examples, shown as they are written."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=help_text,
        description=help_text[0].upper() + help_text[1:] + ".",
        epilog=epilog,
        parents=list(parents),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON, alone on standard output")


def effective(parsed: argparse.Namespace) -> Effective:
    """Build the settings from file, environment and flags. This is where the environment is read."""
    file = parsed.config
    if file is None and os.environ.get(f"{settings_module.ENVIRONMENT_PREFIX}CONFIG"):
        file = Path(os.environ[f"{settings_module.ENVIRONMENT_PREFIX}CONFIG"])
    flags = {name: getattr(parsed, name, None) for name in settings_module.NAMES}
    return settings_module.build(file, os.environ, flags)


def has_store(settings: Settings) -> bool:
    """Tell whether there is a database already."""
    from linkbell_collector.app import database_of

    # Whether there is one on PostgreSQL is found out when it is opened.
    return settings.database is not None or database_of(settings).path.exists()


def with_store(settings: Settings, work: Callable[[Store], Awaitable[T]], *, make: bool = False) -> T:
    """Do ``work`` with the store, beside a running ``serve`` or without one.

    ``make`` allows it to be a new one; otherwise a mistyped folder would look like lost data.
    """
    # Imported late: alembic and SQLAlchemy take half a second that --help need not wait for.
    from linkbell_collector.app import open_store
    from linkbell_collector.clock import SystemClock

    if not make:
        require_database(settings)

    async def session() -> T:
        store = await open_store(settings, SystemClock())
        try:
            return await work(store)
        finally:
            await store.close()

    return run(session())


def run(work: Coroutine[None, None, T]) -> T:
    """Run ``work`` to its end and return its result."""
    results: list[T] = []

    async def keep() -> None:
        results.append(await work)

    # Not as the task's own result: Python 3.11 makes text of that while it lets go of Ctrl-C, for seconds where it
    # holds a hundred thousand schools.
    asyncio.run(keep())
    return results[0]


def require_database(settings: Settings) -> None:
    """Refuse to go on without a database."""
    if not has_store(settings):
        raise RefusedError(
            f"there is no collector's database in {settings.data}",
            "check --data; a new database is made by serve, tokens create and schools add",
        )


def checked(where: str, adapter: TypeAdapter[str], text: str, wanted: str) -> str:
    """Return ``text`` if ``adapter`` takes it. Raises ``UsageError`` that says what is ``wanted``."""
    try:
        return adapter.validate_python(text)
    except ValidationError as error:
        raise UsageError(f"{where}: {text!r} cannot be used; it must be {wanted}") from error


def print_json(value: object) -> None:
    """Print ``value`` as JSON, readable in any script."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(titles: Sequence[str], rows: Sequence[Mapping[str, object]], empty: str) -> None:
    """Print a table with one column per title; what is not known is a dash."""
    if not rows:
        print(empty)
        return
    cells = [list(titles), *([_cell(row[title]) for title in titles] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(titles))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def iso(moment_us: int | None) -> str | None:
    """Return a time as ISO 8601 in UTC, to the second."""
    if moment_us is None:
        return None
    moment: datetime = from_us(moment_us)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
