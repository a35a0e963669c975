"""`linkbell-collector measure`: flags, signals, and one line that says where it listens."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path

from linkbell_collector import values
from linkbell_collector.measure.app import CannotStartError, MeasurementServer, build
from linkbell_collector.measure.settings import (
    DEFAULT_DRAIN_S,
    DEFAULT_MAX_CHECK_BPS,
    DEFAULT_MAX_TESTS,
    DEFAULT_PORT,
    LEAST_TESTS_PER_ADDRESS,
    MeasureSettings,
)
from linkbell_wire import quantities

DESCRIPTION = """The far end of schools' speed tests: an ndt7 server, in a process of its own.

Put it where the schools' traffic meets the Internet, on a line much faster than any school's. Agents are pointed at
it with --server; M-Lab's own ndt7 clients work too. Every test takes up to ten seconds of the full line, so set
--max-tests to your line divided by the fastest school's (1 Gbit/s for 100 Mbit/s schools: 10). One test more than that
is told to come back later, which agents do. Floor checks (linkbell-agent check) are short and paced; they have a limit
of their own, --max-check-rate.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the subcommand's flags on ``parser``."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        type=_endpoint,
        default=("0.0.0.0", DEFAULT_PORT),  # noqa: S104 - a measurement server exists to be reached
        help=f"address to listen on, default 0.0.0.0:{DEFAULT_PORT}; [::]:PORT for IPv6; port 0 picks a free one",
    )
    parser.add_argument(
        "--max-tests",
        metavar="N",
        type=_positive,
        default=DEFAULT_MAX_TESTS,
        help="tests admitted at once, default %(default)s; the next gets 503 and a time to come back",
    )
    parser.add_argument(
        "--max-tests-per-address",
        metavar="N",
        type=_not_negative,
        help="of them, from one client address (IPv6: from one /64), default half of --max-tests and at least "
        f"{LEAST_TESTS_PER_ADDRESS}; the same part of --max-check-rate. More where many schools share an address; 0, "
        "no limit, behind a reverse proxy, which hides addresses",
    )
    parser.add_argument(
        "--max-check-rate",
        metavar="RATE",
        type=_rate,
        default=DEFAULT_MAX_CHECK_BPS,
        help="what all floor checks may send together, such as 500M, default 200M: a check of an 8 Mbit/s floor sends "
        "at 9.2 Mbit/s for two seconds at most",
    )
    parser.add_argument("--certificate", metavar="FILE", type=Path, help="PEM certificate with its chain: serve wss")
    parser.add_argument("--key", metavar="FILE", type=Path, help="the certificate's PEM key, if it is not in its file")
    parser.add_argument(
        "--drain",
        metavar="SECONDS",
        type=_seconds,
        default=DEFAULT_DRAIN_S,
        help="how long a stop waits for tests under way, default %(default)g; a second signal does not wait",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status: 0 stopped as asked, 1 could not start, 2 wrong use."""
    if args.key is not None and args.certificate is None:
        sys.stderr.write("--key needs --certificate: a key alone serves nothing.\n")
        return 2
    host, port = args.listen
    settings = MeasureSettings(
        host,
        port,
        args.max_tests,
        args.max_check_rate,
        args.max_tests_per_address,
        args.certificate,
        args.key,
        drain_s=args.drain,
    )
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    # Its complaints about malformed requests are tracebacks that any stranger could fill the log with.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(build(settings)))
    except CannotStartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


async def _serve(server: MeasurementServer) -> None:
    loop = asyncio.get_running_loop()
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await server.start()
    sys.stdout.write(f"listening on {server.url}\n")
    sys.stdout.flush()
    await stop.wait()
    await _stop(server, hurry)


async def _stop(server: MeasurementServer, hurry: asyncio.Event) -> None:
    stopping = asyncio.ensure_future(server.stop())
    hurried = asyncio.ensure_future(hurry.wait())
    await asyncio.wait([stopping, hurried], return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    if not stopping.done():
        stopping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stopping
        await server.stop(drain_s=0.0)


def loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    """Return uvloop's loop where there is one, ``None`` for asyncio's own."""
    try:
        import uvloop  # not there on PyPy, where asyncio's own loop does
    except ImportError:
        return None
    return uvloop.Loop


def _endpoint(text: str) -> tuple[str, int]:
    try:
        listen = values.listen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return listen.host, listen.port


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _not_negative(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number; 0 is no limit")
    return int(text)


def _rate(text: str) -> float:
    try:
        return quantities.read_rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 60:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 60")
    return seconds
