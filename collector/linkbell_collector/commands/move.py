"""``move``: from SQLite to PostgreSQL."""

import argparse
import asyncio

from linkbell_collector import values
from linkbell_collector.commands import common
from linkbell_collector.commands.progress import Progress
from linkbell_collector.errors import RefusedError, UsageError

_EPILOG = """\
Examples:
  linkbell-collector move --to postgresql://linkbell:password@db/linkbell
  linkbell-collector move --data /srv/linkbell --to postgresql://linkbell@db/linkbell    password from ~/.pgpass

Stop the collector first: what came after the copy was made would be left behind; agents keep it meanwhile. PostgreSQL
is filled in one transaction, and the rows of every table are counted on both sides: if anything fails nothing is there,
and the command can be given again. The SQLite database stays as it is.
"""


def add_to(subparsers: common.Subparsers, parent: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = common.add_command(subparsers, "move", "copy everything from SQLite to PostgreSQL", _EPILOG, [parent])
    parser.add_argument("--to", metavar="URL", required=True, help="postgresql://user:password@host/name, empty")
    parser.add_argument("--replace", action="store_true", help="also if it holds data: that is gone then")
    common.add_json(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Copy everything, and say what to do next."""
    settings = common.effective(parsed).settings
    if settings.database is not None:
        raise RefusedError("this collector is on PostgreSQL already", "leave the setting database out while you move")
    try:
        url = values.database_url(parsed.to)
    except ValueError as error:
        raise UsageError(f"--to: {error}") from error
    common.require_database(settings)
    from linkbell_collector import app  # late, so that --help is quick

    progress = Progress("rows")
    copied = asyncio.run(app.move(settings, url, progress.tell, replace=parsed.replace))
    if parsed.json:
        common.print_json({"to": str(url), "rows": copied.rows})
    else:
        print(f"moved {copied.records:,} records and {copied.rows['agents']:,} agents to {url}; all counts agree")
        print("  what to do: start the collector with --database and the same address; keep the old file for a while")
    return 0
