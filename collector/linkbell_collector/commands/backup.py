"""``backup``: the whole database into one file, while the collector runs."""

import argparse
import asyncio
from pathlib import Path

from linkbell_collector.commands import common
from linkbell_collector.commands.progress import Progress

_EPILOG = """\
Examples:
  linkbell-collector backup /backup/collector.sqlite3
  linkbell-collector backup /backup/collector.sqlite3 --replace --json       each night
  linkbell-collector backup today.sqlite3 --database postgresql://linkbell@db/linkbell

The file is an SQLite database, whatever the collector runs on, and holds everything as it was at one moment. It holds
hashes of credentials, no credential. Put it back with: restore
"""


def add_to(subparsers: common.Subparsers, parent: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = common.add_command(subparsers, "backup", "copy the whole database into one file", _EPILOG, [parent])
    parser.add_argument("file", metavar="FILE", type=Path, help="where to write it")
    parser.add_argument("--replace", action="store_true", help="write over FILE if it exists")
    common.add_json(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Make the copy."""
    settings = common.effective(parsed).settings
    common.require_database(settings)
    from linkbell_collector import app  # late, so that --help is quick

    progress = Progress("pages" if settings.database is None else "rows")
    copied = asyncio.run(app.backup(settings, parsed.file, progress.tell, replace=parsed.replace))
    size = parsed.file.stat().st_size
    if parsed.json:
        common.print_json({"file": str(parsed.file), "bytes": size, "rows": copied.rows})
    else:
        print(f"{parsed.file}: {copied.records:,} records, {copied.rows['agents']:,} agents, {size:,} bytes")
    return 0
