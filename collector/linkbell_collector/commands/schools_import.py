"""``schools import``: schools from a file, shown first, then taken over."""

import argparse
import gc
import sys
import time
from pathlib import Path

from linkbell_collector.clock import SystemClock
from linkbell_collector.commands import common
from linkbell_collector.domain import Directory
from linkbell_collector.errors import UsageError
from linkbell_collector.importing import report
from linkbell_collector.importing.service import Options, Preview, prepare, take_over
from linkbell_collector.store.interface import Store

_EPILOG = """\
Examples:
  linkbell-collector schools import schools.csv              what it would change; nothing is changed
  linkbell-collector schools import schools.csv --apply      change it
  linkbell-collector schools import giga.csv --id school_id_govt --encoding windows-1251
  linkbell-collector schools import schools.geojson --json

The columns are described in docs/schools.md. Exit status: 0 done, 1 with rows that cannot be taken, 2 wrong use.
"""
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}


def add_to(actions: common.Subparsers, parent: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = common.add_command(
        actions, "import", "read schools from a CSV or GeoJSON file; show what would change", _EPILOG, [parent]
    )
    parser.add_argument("file", metavar="FILE", type=Path)
    parser.add_argument("--apply", action="store_true", help="change it: all or nothing")
    parser.add_argument("--skip-errors", action="store_true", help="with --apply: leave out the rows with errors")
    parser.add_argument("--id", dest="id_column", metavar="COLUMN", help="column that holds the school's id")
    parser.add_argument("--encoding", metavar="NAME", help="such as utf-8, windows-1251, kz1048 (default: found out)")
    parser.add_argument("--delimiter", choices=tuple(DELIMITERS), help="what parts the columns (default: found out)")
    parser.add_argument(
        "--no-time-zones", action="store_true", help="do not take missing time zones from the coordinates"
    )
    parser.add_argument("--show", metavar="N", type=int, default=10, help="examples to show of each kind (default 10)")
    common.add_json(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Show what a file would change, and do it if asked to."""
    content = _read(parsed.file)
    gc.disable()  # nothing here is a cycle, and to look for some takes a fifth of the time
    options = Options(
        parsed.encoding, DELIMITERS.get(parsed.delimiter), parsed.id_column, look_up_zones=not parsed.no_time_zones
    )
    progress = _Progress(quiet=parsed.json)

    async def work(store: Store) -> tuple[Preview, bool]:
        preview = await prepare(await store.directory(), content, options, progress)
        takes = parsed.apply and (parsed.skip_errors or not preview.comparison.errors)
        if takes:
            await take_over(store, preview, SystemClock().now_us(), progress)
        return preview, takes

    settings = common.effective(parsed).settings
    if parsed.apply or common.has_store(settings):
        preview, is_done = common.with_store(settings, work, make=True)
    else:  # every school is new, and looking makes nothing
        preview, is_done = common.run(prepare(Directory(), content, options, progress)), False
    progress.end()
    if parsed.json:
        common.print_json({**report.as_json(preview), "applied": is_done})
    else:
        for line in report.lines_of(preview, parsed.show):
            print(line)
        print(f"\n{_ending(preview, parsed, is_done=is_done)}")
    return 1 if preview.comparison.errors and not (is_done and parsed.skip_errors) else 0


def _ending(preview: Preview, parsed: argparse.Namespace, *, is_done: bool) -> str:
    found = preview.comparison
    if is_done:
        return f"done: {len(found.new)} schools added, {len(found.changed)} changed"
    if parsed.apply:
        return "nothing was changed: put the rows with errors right, or leave them out with --skip-errors"
    return "this is a preview, nothing was changed; --apply changes it"


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error


class _Progress:
    """Says on standard error, where somebody looks, how far it is: on one line, a few times a second."""

    def __init__(self, *, quiet: bool) -> None:
        self._is_shown = not quiet and sys.stderr.isatty()
        self._next_s = time.monotonic() + 1.0
        self._has_said = False

    def __call__(self, what: str, done: int, total: int) -> None:
        if not self._is_shown or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + 0.2
        self._has_said = True
        of_all = f" {done} of {total}" if total else ""
        print(f"\r\033[K{what}{of_all} ...", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line empty."""
        if self._has_said:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
