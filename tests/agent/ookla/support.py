"""What the tests of the engine share: requests, servers that speak just enough HTTP, a look at processes."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from linkbell_agent.clock import SystemClock
from linkbell_agent.net import Uplink
from linkbell_agent.probes.base import ProbeContext, SpeedRequest
from linkbell_collector.measure.app import MeasurementServer
from linkbell_wire.configuration import SpeedServer
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import SpeedRecord
from linkbell_wire.words import Engine, ServerScope, Trigger
from tests.agent.ndt7.servers import Behaviour, Visitor
from tests.collector.measure.conftest import metrics

CONTEXT = ProbeContext(Uplink(), SystemClock())
IN_PROGRESS = "linkbell_measure_speedtest_tests_in_progress"


def request(
    *urls: str, download: bool = True, upload: bool = True, max_bytes: int | None = None, max_duration_s: float = 1.0
) -> SpeedRequest:
    return SpeedRequest(
        tuple(SpeedServer(url=url, scope=ServerScope.DOMESTIC) for url in urls),
        Trigger.MANUAL,
        download=download,
        upload=upload,
        max_duration_s=max_duration_s,
        max_bytes=max_bytes,
        engine=Engine.OOKLA,
    )


def failure(operation: Operation, code: FailureCode) -> Failure:
    return Failure(operation=operation, code=code)


def failures(record: SpeedRecord) -> list[Failure | None]:
    return [result.failure for result in (record.download, record.upload) if result is not None]


def answer(body: str, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}Connection: close\r\n\r\n{body}".encode()


def answering(picture: Behaviour, form: Behaviour | None = None) -> Behaviour:
    """A server that looks right until it is asked for a picture, or sent a form."""

    async def behave(visitor: Visitor) -> None:
        line = (await visitor.request()).split(b"\r\n")[0]
        if b"latency.txt" in line:
            visitor.writer.write(answer("test=test"))
        elif line.startswith(b"GET") and b"upload.php" in line:
            visitor.writer.write(answer("size=0"))
        elif b"/random" in line:
            await picture(visitor)
        elif form is not None:
            await form(visitor)
        await visitor.writer.drain()

    return behave


def children() -> Iterator[int]:
    """Yield the test processes this process has started and not yet seen the end of."""
    for task in Path("/proc/self/task").iterdir():
        try:
            pids = (task / "children").read_text().split()
        except FileNotFoundError:  # a thread that has ended meanwhile
            continue
        for pid in pids:
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if b"linkbell_agent.ookla" in command or not command:
                yield int(pid)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return b"\nState:\tZ" not in Path(f"/proc/{pid}/status").read_bytes()


async def begun(server: MeasurementServer) -> None:
    """Wait until a test holds a place."""
    async with asyncio.timeout(10):
        while not (await metrics(server))[IN_PROGRESS]:  # noqa: ASYNC110 - asked
            await asyncio.sleep(0.02)


async def freed(server: MeasurementServer) -> dict[str, float]:
    """Wait until no test holds a place any more; return the server's metrics then."""
    async with asyncio.timeout(20):
        while (seen := await metrics(server))[IN_PROGRESS]:  # noqa: ASYNC110 - asked
            await asyncio.sleep(0.02)
    return seen


async def gone(pid: int) -> None:
    """Wait until a process has ended."""
    async with asyncio.timeout(10):
        while is_alive(pid):  # noqa: ASYNC110 - nobody tells of other people's children
            await asyncio.sleep(0.02)


def child_of(pid: int) -> int:
    """Return a process' only child."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
