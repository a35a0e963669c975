"""One run of a simulation, from the schools' registration to the summary."""

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from linkbell_collector.clock import Clock
from linkbell_collector.errors import RefusedError
from linkbell_collector.simulate import display
from linkbell_collector.simulate.children import CollectorProcess, ShardProcess
from linkbell_collector.simulate.faults import Fault, Kind
from linkbell_collector.simulate.run_file import Shard
from linkbell_collector.simulate.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Performance:
    """What is to be run: one ``Shard`` a process, restarts of the collector, and for how long (s of this machine)."""

    shards: Sequence[Shard]
    faults: Sequence[Fault]
    timeline: Timeline
    lasts_s: float | None


class Conductor:
    """Starts the processes, shows how it goes, ends them in order."""

    def __init__(
        self,
        clock: Clock,
        show: Callable[[str], None],
        came_to: Callable[[int], None],
        collector: CollectorProcess | None,
    ) -> None:
        """``show`` gets lines for people, ``came_to`` the simulated time once a second, for a run that is killed."""
        self._clock = clock
        self._show = show
        self._came_to = came_to
        self._collector = collector
        self._stopped = asyncio.Event()
        self._parts: dict[int, Mapping[str, Any]] = {}
        self._waiting_before: dict[int, int] = {}
        self._failure: RefusedError | None = None
        self._last: tuple[float, int] = (0.0, 0)

    async def perform(self, what: Performance) -> dict[str, Any]:
        """Run until the time is over or somebody stops it. Return the summary. Raises :class:`RefusedError`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopped.set)
        began_s = self._clock.monotonic_s()
        self._last = (began_s, 0)
        processes = [
            await ShardProcess.start(shard, partial(self._heard, number)) for number, shard in enumerate(what.shards)
        ]
        listeners = [asyncio.create_task(process.listen()) for process in processes]
        restarts = asyncio.create_task(self._restart(what))
        try:
            await self._until_the_end(what.lasts_s, listeners)
        finally:
            restarts.cancel()
            for process in processes:
                process.stop()
            await asyncio.gather(*(process.end() for process in processes))
            await asyncio.wait([restarts, *listeners])
        if self._failure is not None:
            raise self._failure
        if any(listener.result() for listener in listeners):
            raise RefusedError("a process of the simulation failed; its words are above", "this is a defect: report it")
        total = display.summed(self._parts.values())
        total["waiting_before"] = sum(self._waiting_before.values())
        return display.summary(total, self._clock.monotonic_s() - began_s)

    async def _until_the_end(self, lasts_s: float | None, listeners: Sequence["asyncio.Task[int]"]) -> None:
        stop = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait([stop, *listeners], timeout=lasts_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()

    async def _restart(self, what: Performance) -> None:
        """Kill and start the collector when the scenario says so, if it is ours."""
        moments = sorted(
            what.timeline.real(fault.start_us) for fault in what.faults if fault.kind is Kind.COLLECTOR_RESTART
        )
        for moment_us in moments:
            wait_s = (moment_us - self._clock.now_us()) / 1e6
            if wait_s < 0 or self._collector is None:
                continue
            await asyncio.sleep(wait_s)
            self._show("the collector is killed and started again")
            await self._collector.restart()

    def _heard(self, number: int, said: Mapping[str, Any]) -> None:
        phase = said["phase"]
        if phase == "failed":
            self._failure = RefusedError(said["message"], said["action"])
            return
        if phase == "enrolling":
            self._show(f"enrolled {said['done']} of {said['of']} agents")
            return
        self._parts[number] = said
        if "pending" in said:
            self._waiting_before[number] = said["waiting"]
            if said["pending"]:
                self._show(
                    f"{said['pending']} agents wait for approval: linkbell-collector agents list --state pending"
                )
        if number == 0:
            self._show_status()

    def _show_status(self) -> None:
        total = display.summed(self._parts.values())
        now_s, (then_s, then) = self._clock.monotonic_s(), self._last
        stored = total["stored"] + total["duplicate"]
        if now_s - then_s > 0.5:
            self._show(display.status_line(total, (stored - then) / (now_s - then_s)))
            self._came_to(total["simulated_us"])
            self._last = (now_s, stored)


def split(shard: Shard, shares: Sequence[tuple[Path, list[int]]]) -> list[Shard]:
    """Return one shard a process: its file, its schools, its histories, and its part of the connections."""
    connections = max(1, shard.rhythm.connections // len(shares))
    return [
        replace(
            shard,
            agents_file=str(file),
            schools=indexes,
            rhythm=replace(shard.rhythm, connections=connections),
            enrol_at_once=max(1, shard.enrol_at_once // len(shares)),
            histories={index: shard.histories[index] for index in indexes if index in shard.histories},
        )
        for file, indexes in shares
    ]
