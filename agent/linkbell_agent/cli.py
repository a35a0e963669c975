"""The command line: words in, one command called. What commands do is in :mod:`linkbell_agent.commands`."""

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from linkbell_agent.lean import do_without_plugins
from linkbell_agent.settings import DEFAULT_FILE, ENVIRONMENT_PREFIX, Loaded, SettingsError, load
from linkbell_wire.version import __version__

EXIT_RESULT = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2

_EPILOG = f"""\
settings
  Every setting has a default. They come, later ones winning, from the file ({DEFAULT_FILE}, or --config),
  from environment variables such as {ENVIRONMENT_PREFIX}PING_COUNT, and from --set ping.count=5.
  `linkbell-agent config check` shows them all and where each comes from.

exit status
  0  a result    1  a failure, which is printed and is a result too    2  wrong use

first steps
  linkbell-agent enrol https://collector.example --token lbj_...
  linkbell-agent run
  linkbell-agent doctor
  linkbell-agent speed --server ws://collector.example:8471
  linkbell-agent check --server ws://collector.example:8471 --floor 8M
"""

_ENROL_EPILOG = """\
example
  linkbell-agent enrol https://collector.example --token lbj_4mVt... --name "server room"

Repeating it is safe: an enrolled box says so, and a token is not used up twice for one box.
"""

_PROBE_EPILOG = """\
examples
  linkbell-agent probe                     list what can be pinged by name
  linkbell-agent probe gateway             the school's own router
  linkbell-agent probe --host 192.0.2.53   any other name or address
  linkbell-agent probe gateway --debug     the whole story of it

reading the answer
  up     23 ms, none lost     all came back; it took 23 ms there and back
  up     23 ms, 3 of 10 lost  the line is bad, or full at the moment
  DOWN   no reply             nothing came back

  Nothing answers, not even the gateway: look at cable, Wi-Fi and router.
  The gateway answers and the others do not: it is the line; call the provider.
  Only the gateway is silent: it may just ignore such packets.

Ten packets out and ten back are less than 2 kB: nobody notices.
The exit status is 0 if at least one packet came back.
"""

_SPEED_EPILOG = """\
examples
  linkbell-agent speed
  linkbell-agent speed --server ws://collector.example:8471
  linkbell-agent speed --download-only --max-bytes 5M
  linkbell-agent speed --server http://collector.example:8471 --engine ookla

what it does to the line
  It fills the line, first down, then up, until it knows: for a second or two
  each on most lines, six by satellite. Who uses the line at that moment will
  notice, and makes the result lower. It costs about what the line carries in a
  second, each way: 1 MB down at 8 Mbit/s, 10 MB at 100 Mbit/s. Ten times as
  much with --full.

reading the answer
  download 7.7 Mbit/s         of a line sold as 8: the rest is packet headers
  under load: ... grade C     what others feel while the line is full. A: calls
                              stay smooth; C: they suffer; F: all but unusable
  this box was the limit      the line may be faster than the number
  FAILED                      no number, why, and what to do about it

Without --server, the box must be enrolled or have servers in its settings.
"""

_CHECK_EPILOG = """\
examples
  linkbell-agent check
  linkbell-agent check --floor 8M
  linkbell-agent check --server ws://collector.example:8471 --floor 8M
  linkbell-agent check --floor "2 Mbit/s" --direction upload

The floor is the speed that the line must have at least: by contract, or by a
national rule. A speed test asks how fast the line is, and fills it for seconds.
A check asks only whether it carries the floor: it sends at 1.15 times the floor
and never faster, and stops as soon as the answer is sure. On a line of twice
the floor nobody notices; at 8 Mbit/s it costs half a megabyte there, and never
more than two.

reading the answer
  The line carries at least 8 Mbit/s.                     passed; how much more
                                                          it carries is not said
  The line carries 5.1 Mbit/s, less than its floor ...    failed
  Whether ... could not be found out: ...                 no answer, and why

It needs a Linkbell measurement server (linkbell-collector measure): other ndt7
servers cannot pace. Floors from 100k to 1G can be checked.
"The line is too slow" is an answer: the exit status is 0 then, too.
"""

_STATUS_EPILOG = """\
examples
  linkbell-agent status
  linkbell-agent status --set language=kk
  linkbell-agent status --json

It asks the running agent, and shows what was kept if none is running.
In a browser on the school's network the same is at http://ADDRESS-OF-THIS-BOX:8472/
"""

_DOCTOR_EPILOG = """\
examples
  linkbell-agent doctor
  linkbell-agent doctor --set language=ru

It changes nothing, and takes half a minute at most. Each line says what was
looked at, how it is, and behind an arrow what to do.
The exit status is 0 if nothing failed (warnings do not count), else 1.
"""

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    from linkbell_agent.files import StateError

    do_without_plugins()
    arguments = build_parser().parse_args(argv)  # not kept: the parsers of all commands are 0.25 MB (measured)
    try:
        return _command(arguments.command)(arguments)
    except SettingsError as error:
        return _refuse(str(error), EXIT_USAGE)
    except StateError as error:
        return _refuse(str(error), EXIT_FAILURE)
    except KeyboardInterrupt:
        return _refuse("stopped", EXIT_FAILURE)
    except BrokenPipeError:
        # Whoever read our output has gone: nothing more to say, and no traceback at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE


def _command(name: str) -> Command:
    # Imported late: `--help` answers at once on a slow box, and a running agent carries no other command's code.
    if name in ("status", "doctor"):
        from linkbell_agent import technician

        return {"status": technician.status, "doctor": technician.doctor}[name]
    if name == "run":
        from linkbell_agent import running

        return running.run
    from linkbell_agent import commands

    table: dict[str, Command] = {
        "enrol": commands.enrol,
        "probe": commands.probe,
        "speed": commands.speed,
        "check": commands.check,
        "config": commands.config,
    }
    return table[name]


def load_settings(arguments: argparse.Namespace) -> Loaded:
    """Build the settings a command was given, and set up logging by them. Raises :class:`SettingsError`."""
    overrides = list(arguments.set)
    if arguments.state is not None:
        overrides.append(f"state={arguments.state}")
    loaded = load(arguments.config, overrides)
    logging.basicConfig(
        level=loaded.settings.log_level.upper(), format="%(levelname)s: %(message)s", stream=sys.stderr, force=True
    )
    return loaded


def _refuse(message: str, status: int) -> int:
    for line in message.splitlines():
        print(f"linkbell-agent: {line}", file=sys.stderr)
    return status


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal. argparse finds that out with shutil, and three compressors, before anybody asks."""

    def __init__(self, prog: str) -> None:
        width = 80
        with contextlib.suppress(OSError, ValueError, AttributeError):
            width = os.get_terminal_size(sys.stdout.fileno()).columns or width
        super().__init__(prog, width=width - 2)


def build_parser() -> argparse.ArgumentParser:
    """Return the whole command line, for :func:`main` and for the test of its documentation."""
    parser = argparse.ArgumentParser(
        prog="linkbell-agent",
        description="Measures a school's Internet line, keeps every result, and reports to a collector.",
        epilog=_EPILOG,
        formatter_class=_HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"linkbell-agent {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = _common()

    def add(name: str, summary: str, epilog: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=epilog,
            parents=[common],
            formatter_class=_HelpFormatter,
        )

    _describe_enrol(
        add("enrol", "make this box known to a collector, with a join token from its operator", _ENROL_EPILOG)
    )
    _describe_run(add("run", "measure and report until stopped"))
    _describe_probe(add("probe", "send a few small packets to one target: does it answer, and how fast", _PROBE_EPILOG))
    _describe_speed(add("speed", "measure now how fast the line is, down and up", _SPEED_EPILOG))
    _describe_check(add("check", "ask whether the line carries at least its floor, without filling it", _CHECK_EPILOG))
    add("status", "say in plain words how the line is, with small charts of the last day", _STATUS_EPILOG)
    add("doctor", "look at everything the agent needs, and say what to do about each", _DOCTOR_EPILOG)
    config = add("config", "look at the settings")
    config.add_argument(
        "action", choices=["check"], help="check: say whether they are right, and where each comes from"
    )
    return parser


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, formatter_class=_HelpFormatter)
    group = common.add_argument_group("common options")
    group.add_argument(
        "--config", type=Path, metavar="FILE", help=f"settings file (default: {DEFAULT_FILE}, if it is there)"
    )
    group.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="folder of what this box keeps: identity, unsent results, last configuration",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one setting for this run, such as ping.count=5; may be repeated",
    )
    group.add_argument("--json", action="store_true", help="print the result as JSON, and nothing else, for programs")
    return common


def _describe_enrol(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="address of the collector, such as https://collector.example")
    parser.add_argument("--token", required=True, help="join token, lbj_...; - reads it from standard input")
    parser.add_argument("--school", metavar="ID", help="school this box stands in, if the token is for a whole region")
    parser.add_argument("--name", help="a name for this box, such as 'server room'")
    parser.add_argument("--again", action="store_true", help="enrol anew although this box is enrolled already")


def _describe_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--show", action="store_true", help="print each result in a line (with --json: as JSON lines)")
    parser.add_argument("--speed-now", action="store_true", help="begin with a speed test, whatever the schedule says")


def _describe_probe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="target to ping, such as gateway; without it, all are listed"
    )
    _add_uplink(parser)
    parser.add_argument("--host", help="ping this name or address, not a target of the list")
    parser.add_argument(
        "--method", choices=["icmp", "tcp"], help="with --host: how (default: icmp where this box may, else tcp)"
    )
    parser.add_argument("--port", type=int, help="with --host: port to connect to with tcp (default: 443)")
    parser.add_argument("--count", type=int, help="packets to send, 1 to 100 (default: 10, or as set)")
    parser.add_argument("--once", action="store_true", help="one round and an end, as it is without this, too")
    parser.add_argument("--debug", action="store_true", help="tell all: addresses, sockets, each packet, the record")


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--server",
        metavar="URL",
        help="measurement server, such as ws://collector.example:8471, from whoever runs the collector "
        "(default: what this box was told)",
    )


def _add_uplink(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--uplink", metavar="NAME", help="which of several uplinks to measure (default: the first)")


def _describe_check(parser: argparse.ArgumentParser) -> None:
    _add_server(parser)
    _add_uplink(parser)
    parser.add_argument(
        "--floor",
        metavar="RATE",
        help="least speed, in bits per second: 8M, 8.5M, 8000k, '8 Mbit/s' or 8000000 (default: the school's own, if "
        "this box is enrolled)",
    )
    parser.add_argument(
        "--direction", choices=["download", "upload"], default="download", help="which way (default: download)"
    )


def _describe_speed(parser: argparse.ArgumentParser) -> None:
    _add_server(parser)
    _add_uplink(parser)
    parser.add_argument(
        "--engine",
        choices=["ndt7", "ookla"],
        help="what measures: ndt7 is Linkbell's own, ookla runs speedtest-cli (default: ndt7, or as set)",
    )
    direction = parser.add_mutually_exclusive_group()
    direction.add_argument("--download-only", action="store_true", help="leave the upload out")
    direction.add_argument("--upload-only", action="store_true", help="leave the download out")
    parser.add_argument(
        "--full",
        action="store_true",
        help="use all of the time on one connection, as M-Lab's own tests do, to compare with those",
    )
    parser.add_argument(
        "--max-duration",
        type=float,
        metavar="SECONDS",
        help="stop each direction after this long at the latest, 1 to 15 (default: 10, or as set)",
    )
    parser.add_argument(
        "--max-bytes",
        metavar="SIZE",
        help="stop each direction at this much data at the latest: 500k, 5M, 1G; 100k or more. Too little, and the "
        "test ends without a number (default: no limit, or as set)",
    )
