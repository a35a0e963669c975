"""`linkbell-collector measure` as a process: what it prints, how it stops, how it says no."""

import argparse
import asyncio
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from linkbell_collector.measure import command
from linkbell_wire.ndt7 import frames
from linkbell_wire.ndt7.frames import Opcode
from tests.collector.measure.peer import UPLOAD_PATH, handshake, open_peer

PROGRAM = """
import argparse, sys
from linkbell_collector.measure import command
parser = argparse.ArgumentParser(prog="linkbell-collector measure")
command.add_arguments(parser)
sys.exit(command.run(parser.parse_args()))
"""

Launch = Callable[..., Awaitable[Process]]


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    """Run the command with some arguments; what is left of it at the end is killed."""
    started: list[Process] = []

    async def run(*arguments: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, *arguments, stdout=PIPE, stderr=PIPE
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def port_of(process: Process) -> int:
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert line.startswith("listening on http://127.0.0.1:")
    return int(line.rsplit(":", 1)[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_prints_one_line_when_ready_and_stops_cleanly_when_asked(launch: Launch, number: int) -> None:
    process = await launch("--listen", "127.0.0.1:0")
    await port_of(process)
    process.send_signal(number)
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert out == b""


async def test_a_stop_lets_a_test_under_way_finish_and_a_second_signal_does_not_wait(launch: Launch) -> None:
    process = await launch("--listen", "127.0.0.1:0", "--drain", "60")
    port = await port_of(process)
    async with open_peer(port) as peer, asyncio.timeout(10):
        await peer.ask(handshake(UPLOAD_PATH))
        process.send_signal(signal.SIGTERM)
        peer.send(Opcode.PING, b"still there?")
        async for frame in peer.messages():
            if frame.opcode is Opcode.PONG:
                break
        process.send_signal(signal.SIGTERM)
        assert await peer.until_closed() == frames.CLOSE_GOING_AWAY
        await process.wait()
    assert process.returncode == 0


async def test_a_port_in_use_is_one_sentence_and_status_1(launch: Launch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await launch("--listen", f"127.0.0.1:{port}")
        out, err = await process.communicate()
    assert process.returncode == 1
    assert out == b""
    text = err.decode()
    assert text.startswith(f"Port {port} is in use")
    assert "--listen" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("--listen", "8471"),
        ("--listen", "host:99999"),
        ("--max-tests", "0"),
        ("--max-tests-per-address", "-1"),
        ("--drain", "-1"),
        ("--drain", "soon"),
        ("--key", "key.pem"),
    ],
)
async def test_wrong_use_is_status_2_and_says_what_is_right(launch: Launch, arguments: tuple[str, ...]) -> None:
    process = await launch(*arguments)
    _, err = await process.communicate()
    assert process.returncode == 2
    assert arguments[0] in err.decode()
    assert "Traceback" not in err.decode()


def test_the_flags_mean_what_they_say() -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args(["--listen", "[::1]:0", "--max-tests", "3"])
    assert args.listen == ("::1", 0)
    assert args.max_tests == 3
    assert args.max_tests_per_address is None
    assert parser.parse_args(["--max-tests-per-address", "0"]).max_tests_per_address == 0
    assert parser.parse_args([]).listen == ("0.0.0.0", 8471)
    assert "--max-tests" in parser.format_help()
