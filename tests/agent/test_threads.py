"""Blocking calls in daemon threads: results, errors, cancelling, and an exit that waits for nobody."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from linkbell_agent.threads import BlockingCalls, Worker


async def test_results_and_errors_come_back() -> None:
    assert await BlockingCalls(1).run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await BlockingCalls(1).run(divmod, 7, 0)


async def test_cancelling_returns_at_once_and_drops_the_result() -> None:
    done = threading.Event()
    task = asyncio.create_task(BlockingCalls(1).run(done.wait, 30))
    await asyncio.sleep(0.05)
    task.cancel()
    async with asyncio.timeout(1):
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    done.set()


async def test_no_more_threads_than_allowed_are_under_way() -> None:
    gate = threading.Event()
    blocking = BlockingCalls(limit=3)
    calls = [asyncio.create_task(blocking.run(gate.wait, 30)) for _ in range(5)]
    await asyncio.sleep(0.2)
    assert len([thread for thread in threading.enumerate() if thread.name == "linkbell-call"]) == 3
    gate.set()
    async with asyncio.timeout(5):
        assert all(await asyncio.gather(*calls))


def test_a_hung_call_does_not_hold_up_the_exit() -> None:
    script = (
        "import asyncio, time; from linkbell_agent.threads import BlockingCalls, Worker\n"
        "async def main():\n"
        "    calls = [BlockingCalls(1).run(time.sleep, 30), Worker('w').run(lambda: time.sleep(30))]\n"
        "    tasks = [asyncio.create_task(call) for call in calls]; await asyncio.sleep(0.1)\n"
        "    [task.cancel() for task in tasks]\n"
        "asyncio.run(main())\n"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=20)
    assert done.returncode == 0
    assert time.monotonic() - began < 10


async def test_a_worker_does_one_thing_after_another_even_if_nobody_waits_any_more() -> None:
    worker = Worker("test-worker")
    gate = threading.Event()
    done: list[str] = []

    def wait_and_note() -> None:
        gate.wait(30)
        done.append("first")

    first = asyncio.create_task(worker.run(wait_and_note))
    second = asyncio.create_task(worker.run(lambda: done.append("second")))
    await asyncio.sleep(0.05)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert done == []
    gate.set()
    await second
    assert done == ["first", "second"]
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0)
