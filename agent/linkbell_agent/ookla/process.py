"""Starts the test process, listens to it, and ends it: when it is done, stalls, takes too long, or is not wanted."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict

from linkbell_agent.classify import classify
from linkbell_agent.ookla.reports import MAX_LINE_BYTES, Finding
from linkbell_agent.slim import dataclass
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.words import Direction

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-W", "ignore", "-m", "linkbell_agent.ookla.child")
LAST_WORDS_S = 1.0
MAX_LINES = 5000


@dataclass(frozen=True, slots=True)
class Program:
    """What runs a test, and how long it may take for what, in seconds."""

    command: Sequence[str] = COMMAND
    start_s: float = 15.0
    """A small box reads Python and speedtest-cli from a slow card."""
    setup_s: float = 30.0
    """Finding the server: the configuration, the list and fifteen latency probes of www.speedtest.net."""
    tail_s: float = 11.0
    """How long a direction may take past its time: the last request has 10 s to be answered."""
    stall_s: float = 5.0
    """A direction in which nothing moves for this long is over; sooner in a short test."""


PROGRAM = Program()


@dataclass(frozen=True, slots=True)
class Job:
    """One test. ``server`` is a URL without path, ``None`` for the public servers."""

    server: str | None
    test: str | None
    directions: tuple[Direction, ...]
    max_duration_s: float
    max_bytes: int | None
    device: str | None = None
    source: str | None = None
    addresses: tuple[str, ...] = ()
    """Of the server, where its name was asked on the uplink already."""

    def limit_s(self, program: Program) -> float:
        """Return after how long the process is killed, whatever it does."""
        return program.start_s + program.setup_s + len(self.directions) * (self.max_duration_s + program.tail_s)

    def stall_s(self, program: Program) -> float:
        """Return for how long nothing may move."""
        return min(program.stall_s, max(1.0, self.max_duration_s / 2))

    def line(self, program: Program) -> bytes:
        """Return the job as the process reads it."""
        return json.dumps(asdict(self) | {"limit_s": self.limit_s(program)}).encode() + b"\n"


async def run(job: Job, monotonic: Callable[[], float], program: Program = PROGRAM) -> Finding:
    """Run one test to its end. Nothing of it is left running, cancelled or not; trouble is in the finding."""
    finding = Finding()
    try:
        process = await asyncio.create_subprocess_exec(
            *program.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=None if log.isEnabledFor(logging.DEBUG) else asyncio.subprocess.DEVNULL,
            limit=MAX_LINE_BYTES,
            start_new_session=True,
        )
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        code = FailureCode.ENGINE_MISSING if missing else classify(error)
        finding.fail(Failure(operation=Operation.RUN, code=code))
        return finding
    try:
        async with asyncio.timeout(job.limit_s(program)):
            await _Listener(process, (job, program), monotonic, finding).listen()
    except TimeoutError:
        finding.timed_out()
    except ValueError:  # no report, or a line without an end
        finding.fail(Failure(operation=Operation.RUN, code=FailureCode.ENGINE_FAILED))
    finally:
        await _end(process)
    return finding


class _Listener:
    """Reads the reports of one process and says when enough is enough."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        work: tuple[Job, Program],
        monotonic: Callable[[], float],
        finding: Finding,
    ) -> None:
        self._process = process
        self._job, self._program = work
        self._monotonic = monotonic
        self._finding = finding
        self._phase_s = self._moved_s = monotonic()

    async def listen(self) -> None:
        """Listen to the end. Raises :class:`TimeoutError` or :class:`ValueError` if the process must be ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with contextlib.suppress(ConnectionError):
            stdin.write(self._job.line(self._program))
            await stdin.drain()
        for _ in range(MAX_LINES):
            line = await stdout.readline()
            if not line:
                break
            self._take(line)
            if self._finding.ended:
                return
        raise ValueError("the test process ended without a word, or has no end")

    def _take(self, line: bytes) -> None:
        finding, now_s = self._finding, self._monotonic()
        before, moved = finding.phase, finding.moved
        finding.take(line)
        if finding.phase != before:
            self._phase_s = now_s
        if finding.moved != moved:
            self._moved_s = now_s
        if finding.ended:
            return
        in_setup = finding.phase == "setup"
        program = self._program
        limit_s = program.start_s + program.setup_s if in_setup else self._job.max_duration_s + program.tail_s
        stalled = not in_setup and now_s - max(self._moved_s, self._phase_s) > self._job.stall_s(self._program)
        if stalled or now_s - self._phase_s > limit_s:
            raise TimeoutError


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill the whole group unless it has gone by itself, and wait for its end, which a killed process cannot delay."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORDS_S):
            await process.stdout.read()  # what is left in the pipe: asyncio lets go of a pipe at its end only
            await process.wait()
