"""``serve``: the collector itself."""

import argparse
import logging
import sys

from linkbell_collector.commands import common

_EPILOG = """\
Examples:
  linkbell-collector serve
  linkbell-collector serve --listen 0.0.0.0:8470 --data /srv/linkbell
  linkbell-collector serve --listen '[::1]:0'         IPv6, any free port

It prints "listening on http://HOST:PORT" once it is ready. Put a reverse proxy with TLS before it when it is to be
reached from outside; by default only this machine reaches it. SIGTERM and Ctrl-C stop it with everything kept.
"""


def add_to(subparsers: common.Subparsers, parent: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = common.add_command(subparsers, "serve", "take, keep, show and expose measurements", _EPILOG, [parent])
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help="where to listen (default 127.0.0.1:8470); port 0 picks a free one"
    )
    parser.add_argument(
        "--measurement-url", metavar="URL", help="measurement server agents are told, such as ws://host:8471"
    )
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error (default info)")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Serve until asked to stop."""
    settings = common.effective(parsed).settings
    logging.basicConfig(
        stream=sys.stderr, level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Its complaints about malformed requests are tracebacks that any stranger could fill the log with.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    from linkbell_collector import app  # late, so that --help is quick

    try:
        import uvloop
    except ImportError:  # only CPython has it
        import asyncio

        asyncio.run(app.run(settings))
    else:
        uvloop.run(app.run(settings))
    return 0
