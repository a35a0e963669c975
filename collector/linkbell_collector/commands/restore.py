"""``restore``: a backup in place of the database."""

import argparse
import asyncio
from pathlib import Path

from linkbell_collector.commands import common
from linkbell_collector.commands.progress import Progress

_EPILOG = """\
Examples:
  linkbell-collector restore /backup/collector.sqlite3
  linkbell-collector restore /backup/collector.sqlite3 --replace             over a database that holds data
  linkbell-collector restore today.sqlite3 --database postgresql://linkbell@db/linkbell

Everything in the database is replaced, or nothing is. A collector that runs may go on: agents are told to come back
until it is done. Restart it afterwards, so that its pages forget what the backup does not hold. What agents were told
is kept since the backup was made is lost: they have removed it.
"""


def add_to(subparsers: common.Subparsers, parent: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = common.add_command(subparsers, "restore", "put a backup in place of the database", _EPILOG, [parent])
    parser.add_argument("file", metavar="FILE", type=Path, help="made by: backup")
    parser.add_argument("--replace", action="store_true", help="also if the database holds data: that is gone then")
    common.add_json(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Put it back."""
    settings = common.effective(parsed).settings
    from linkbell_collector import app  # late, so that --help is quick

    progress = Progress("pages" if settings.database is None else "rows")
    copied = asyncio.run(app.restore(settings, parsed.file, progress.tell, replace=parsed.replace))
    if parsed.json:
        common.print_json({"file": str(parsed.file), "rows": copied.rows})
    else:
        held = f"{copied.records:,} records and {copied.rows['agents']:,} agents"
        print(f"restored {held}; restart the collector if it runs")
    return 0
