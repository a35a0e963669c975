"""``measure``: the measurement server, which has a package of its own."""

import argparse

from linkbell_collector.commands import common

_EPILOG = """\
Example:
  linkbell-collector measure --listen 0.0.0.0:8471
"""


def add_to(subparsers: common.Subparsers, parent: argparse.ArgumentParser) -> None:
    """Add the command; its arguments belong to the measurement server."""
    from linkbell_collector.measure import command

    parser = common.add_command(
        subparsers, "measure", "run the measurement server, against which agents test their speed", _EPILOG
    )
    command.add_arguments(parser)
    parser.set_defaults(run=command.run)
