"""One process of a simulation: told by one line on standard input, it tells how it goes in lines on standard output.

It ends when told to (SIGTERM), or when standard input ends: then whoever started it is gone.
"""

import asyncio
import contextlib
import gc
import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from linkbell_collector.clock import SystemClock
from linkbell_collector.errors import CollectorError
from linkbell_collector.simulate import truth
from linkbell_collector.simulate.agent import Identity, SimulatedAgent, Tally
from linkbell_collector.simulate.client import Client
from linkbell_collector.simulate.driver import Driver, saved
from linkbell_collector.simulate.enrolling import enrol_all
from linkbell_collector.simulate.faults import FaultBook
from linkbell_collector.simulate.fleet import build_fleet
from linkbell_collector.simulate.rounds import World
from linkbell_collector.simulate.run_file import Shard, shard_from

TELL_INTERVAL_S = 1.0


def tell(phase: str, **values: Any) -> None:
    """Say how it goes. If nobody listens any more, whoever started us is gone, and we end for that."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps({"phase": phase, **values}), flush=True)


def load(shard: Shard, tally: Tally) -> list[SimulatedAgent]:
    """Return this process's agents as they were left."""
    fleet = build_fleet(shard.spec)
    faults = truth.read(Path(shard.truth_file).read_text(encoding="utf-8"), fleet)
    world = World(FaultBook(faults), shard.speeds_per_day)
    known = {}
    for line in Path(shard.agents_file).read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        known[item["school"]] = item
    agents = []
    for index in shard.schools:
        agent = SimulatedAgent(fleet[index], world, Identity(""), tally)
        item = known[agent.site.id]
        if "entries" in item:
            agent.restore(item)
        else:
            agent.identity = Identity(item["installation"])
        agents.append(agent)
    return agents


def save(agents: list[SimulatedAgent], file: Path) -> None:
    """Keep the agents, whole or not at all."""
    part = file.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_text(saved(agents), encoding="utf-8")
    part.replace(file)


async def run(shard: Shard, stopped: asyncio.Event) -> None:
    """Enrol, run until stopped, deliver what can be, keep the rest. Raises ``RefusedError``."""
    tally = Tally()
    agents = load(shard, tally)
    async with Client(shard.url) as client:
        driver = Driver(agents, client, shard.timeline, shard.rhythm, SystemClock())
        enrolling = asyncio.create_task(enrol_all(agents, client, shard.tokens, _told, shard.enrol_at_once))
        try:
            await _either(enrolling, stopped)
        finally:
            save(agents, Path(shard.agents_file))  # whoever has a credential keeps it
        if enrolling.cancelled():
            tell("done", **driver.snapshot(tally))
            return
        pending = enrolling.result()
        tell("running", pending=pending, **driver.snapshot(tally))
        _calm_garbage_collector()
        work = asyncio.create_task(driver.run(shard.histories))
        try:
            while not stopped.is_set() and not work.done():
                await _wait(stopped, TELL_INTERVAL_S)
                tell("running", **driver.snapshot(tally))
        finally:
            work.cancel()
            await asyncio.wait([work])
        if not work.cancelled():
            work.result()
        driver.stop()
        await driver.drain(shard.drain_s)
        save(agents, Path(shard.agents_file))
        tell("done", **driver.snapshot(tally))


def _calm_garbage_collector() -> None:
    """Leave the fleet out of every collection, and collect less often: rounds leave no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _told(done: int, of: int) -> None:
    if done == of or done % 100 == 0:
        tell("enrolling", done=done, of=of)


async def _either(task: "asyncio.Task[int]", stopped: asyncio.Event) -> None:
    """Wait until the task has ended, or cancel it when it is to stop."""
    stop = asyncio.create_task(stopped.wait())
    await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait([task])


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


async def _main() -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C reaches all; whoever started us tells us in order
    shard = shard_from(sys.stdin.readline())
    threading.Thread(target=_until_abandoned, args=(loop, stopped), daemon=True).start()
    try:
        await run(shard, stopped)
    except CollectorError as error:
        tell("failed", message=error.message, action=error.action)
        return 1
    return 0


def _until_abandoned(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    sys.stdin.read()
    with contextlib.suppress(RuntimeError):  # the loop has ended by itself meanwhile
        loop.call_soon_threadsafe(stopped.set)


def main() -> int:
    """Run."""
    try:
        import uvloop
    except ImportError:  # only CPython has it
        return asyncio.run(_main())
    return uvloop.run(_main())


if __name__ == "__main__":
    sys.exit(main())
