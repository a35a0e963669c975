"""``check-config``: which settings hold, and where each came from."""

import argparse
from pathlib import Path

from linkbell_collector import settings as settings_module
from linkbell_collector.commands import common
from linkbell_collector.profile import Wishes, as_json
from linkbell_collector.values import DatabaseUrl, Listen

_EPILOG = """\
Examples:
  linkbell-collector check-config
  linkbell-collector check-config --config /etc/linkbell/collector.toml --json
  LINKBELL_COLLECTOR_LISTEN=0.0.0.0:8470 linkbell-collector check-config
"""


def add_to(subparsers: common.Subparsers, parent: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = common.add_command(
        subparsers, "check-config", "show the settings that hold, and say what is wrong", _EPILOG, [parent]
    )
    parser.add_argument("--listen", metavar="HOST:PORT", help="as for serve")
    common.add_json(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Print every setting."""
    effective = common.effective(parsed)
    shown = {name: _plain(getattr(effective.settings, name)) for name in settings_module.NAMES}
    if parsed.json:
        origins = effective.origins
        common.print_json({name: {"value": value, "from": origins[name]} for name, value in shown.items()})
        return 0
    rows = [
        {"setting": name, "value": value, "from": effective.origins[name], "meaning": settings_module.help_of(name)}
        for name, value in shown.items()
    ]
    common.print_table(("setting", "value", "from", "meaning"), rows, "")
    return 0


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: as_json(held) if isinstance(held, Wishes) else held for name, held in value.items()}
    return str(value) if isinstance(value, (Path, Listen, DatabaseUrl)) else value
