"""Blocking calls in daemon threads: results, errors, cancelling, and an exit that waits for nobody."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from linkbell_agent import threads
from linkbell_agent.threads import run_blocking


async def test_results_and_errors_come_back() -> None:
    assert await run_blocking(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await run_blocking(divmod, 7, 0)


async def test_cancelling_returns_at_once_and_drops_the_result() -> None:
    done = threading.Event()
    task = asyncio.create_task(run_blocking(done.wait, 30))
    await asyncio.sleep(0.05)
    task.cancel()
    async with asyncio.timeout(1):
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    done.set()


async def test_no_more_threads_than_allowed_are_under_way() -> None:
    gate = threading.Event()
    calls = [asyncio.create_task(run_blocking(gate.wait, 30)) for _ in range(threads.MAX_THREADS + 5)]
    await asyncio.sleep(0.2)
    running = [thread for thread in threading.enumerate() if thread.name.startswith("linkbell-")]
    assert len(running) == threads.MAX_THREADS
    gate.set()
    async with asyncio.timeout(5):
        assert all(await asyncio.gather(*calls))


def test_a_hung_call_does_not_hold_up_the_exit() -> None:
    script = (
        "import asyncio, time; from linkbell_agent.threads import run_blocking\n"
        "async def main():\n"
        "    task = asyncio.create_task(run_blocking(time.sleep, 30)); await asyncio.sleep(0.1); task.cancel()\n"
        "asyncio.run(main())\n"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=20)
    assert done.returncode == 0
    assert time.monotonic() - began < 10
