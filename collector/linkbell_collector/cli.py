"""The command line: parse, build the settings, hand over. What commands do is in ``commands/``."""

import argparse
import json
import os
import sys
from pathlib import Path

from linkbell_collector import commands
from linkbell_collector.errors import CollectorError, UsageError
from linkbell_wire import ErrorCode, __version__

_EPILOG = """\
A fresh machine:
  linkbell-collector serve                             start; the page is on http://127.0.0.1:8470
  linkbell-collector measure                           start the measurement server beside it
  linkbell-collector tokens create --school s-100      print a join token for the agent of school s-100

Settings come from defaults, then --config FILE (TOML), then LINKBELL_COLLECTOR_... in the environment, then flags;
"linkbell-collector check-config" shows what holds and where it came from. All are described in docs/collector.md.
Exit status: 0 done, 1 refused or failed, 2 wrong use.
"""

_NOT_INSTALLED = """\
linkbell-collector: the collector is not installed here, only the agent is: {missing} is missing
  what to do: pip install 'linkbell[collector]'"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    try:
        return _run(arguments)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("linkbell"):
            raise  # ours: a defect, not an installation without the collector
        print(_NOT_INSTALLED.format(missing=error.name), file=sys.stderr)
        return 1


def _run(arguments: list[str] | None) -> int:
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except UsageError as error:
        return _tell(parsed, str(error), None, ErrorCode.INVALID_REQUEST, status=2)
    except CollectorError as error:
        return _tell(parsed, error.message, error.action, error.code, status=1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone: nothing to say, and nothing left to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="linkbell-collector",
        description="Takes what schools' agents measure, keeps it, shows it, and exposes it to Prometheus.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"linkbell-collector {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    common = _common_options()
    for module in commands.modules():
        module.add_to(subparsers, common)
    return parser


def _common_options() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    group = common.add_argument_group("common options")
    group.add_argument("--data", metavar="DIR", help="folder of the database (default /var/lib/linkbell-collector)")
    group.add_argument(
        "--database", metavar="URL", help="PostgreSQL instead of SQLite: postgresql://user:password@host/name"
    )
    group.add_argument("--config", metavar="FILE", type=Path, help="settings file, TOML (default: none)")
    return common


def _tell(parsed: argparse.Namespace, message: str, action: str | None, code: ErrorCode, *, status: int) -> int:
    if getattr(parsed, "json", False):
        known = None if code is ErrorCode.INTERNAL else code.value
        print(json.dumps({"error": message, "action": action, "code": known}, ensure_ascii=False))
    else:
        print(f"linkbell-collector: {message}", file=sys.stderr)
        if action:
            print(f"  what to do: {action}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
