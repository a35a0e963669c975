"""Runs the agents of one process: rounds when they are due, deliveries over a few connections. Decides nothing."""

import asyncio
import heapq
import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from linkbell_collector.clock import Clock
from linkbell_collector.simulate.agent import Outgoing, SimulatedAgent, Tally
from linkbell_collector.simulate.client import Client
from linkbell_collector.simulate.replies import Decision, Step, ceiling_s, decide
from linkbell_collector.simulate.timeline import Timeline

RECORDS_PATH = "/api/v1/records"
CONFIG_PATH = "/api/v1/agent/config"
TURN_ROUNDS = 50
"""Rounds computed before others get their turn."""

LONGEST_SLEEP_S = 0.25


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Seconds of simulated time between rounds, live and in history, and between deliveries (0: after each round);
    records in a batch; connections."""

    interval_s: float = 60.0
    history_interval_s: float = 900.0
    report_every_s: float = 0.0
    batch_records: int = 60
    connections: int = 32


@dataclass(slots=True, eq=False)
class _Run:
    """An agent and what the driver knows of it."""

    agent: SimulatedAgent
    queued: bool = False
    filling: bool = False
    failures: int = 0
    not_before_us: int = 0
    limit: int = 0
    sent_us: int = 0


class Driver:
    """:meth:`run` runs until it is cancelled; then :meth:`stop` says good-bye for every box."""

    def __init__(
        self, agents: Sequence[SimulatedAgent], client: Client, timeline: Timeline, rhythm: Rhythm, clock: Clock
    ) -> None:
        self._runs = [_Run(agent, limit=rhythm.batch_records) for agent in agents]
        if rhythm.report_every_s:
            for agent in agents:
                agent.spool.fresh_rounds += rhythm.batch_records // 5
        self._client = client
        self._timeline = timeline
        self._rhythm = rhythm
        self._clock = clock
        self._ready: asyncio.Queue[_Run] = asyncio.Queue()
        self._rounds: list[tuple[int, int, _Run]] = []
        self._retries: list[tuple[int, int, _Run]] = []
        self._number = 0
        self._slots = asyncio.Semaphore(rhythm.connections * 2)
        self._rng = random.Random()  # noqa: S311 - spreads load
        self.requests = 0
        self.outcomes: Counter[str] = Counter()
        self.latest_us = 0
        """Simulated time up to which all rounds were made."""

    @property
    def waiting(self) -> int:
        """Records not delivered."""
        return sum(run.agent.spool.waiting for run in self._runs)

    def now_us(self) -> int:
        """Return simulated time."""
        return self._timeline.simulated(self._clock.now_us())

    async def run(self, histories: dict[int, tuple[int, float]]) -> None:
        """Run until cancelled. ``histories`` tells, by the school's index, since when and at what interval (s) a box
        has measured before now."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._rhythm.connections):
                group.create_task(self._deliver())
            group.create_task(self._start(histories))
            group.create_task(self._keep_time())

    def stop(self) -> None:
        """Stop all boxes in good order, at the present moment."""
        now_us = self.now_us()
        for run in self._runs:
            run.agent.stop(self._timeline.wire(now_us))

    async def drain(self, limit_s: float) -> None:
        """Deliver what waits, for at most so long (s)."""
        workers = [asyncio.create_task(self._deliver()) for _ in range(self._rhythm.connections)]
        for run in self._runs:
            run.queued, run.not_before_us = False, 0
            self._offer(run)
        until_s = self._clock.monotonic_s() + limit_s
        while any(self._deliverable(run) for run in self._runs):
            await asyncio.sleep(0.05)
            if self._clock.monotonic_s() >= until_s:
                break
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)

    def _deliverable(self, run: _Run) -> bool:
        return bool(run.agent.spool.waiting) and run.failures == 0 and run.agent.can_send(self.now_us())

    # --- rounds

    async def _start(self, histories: dict[int, tuple[int, float]]) -> None:
        """Switch the boxes on, those with a history after it; of those only some wait for delivery at a time."""
        for number, run in enumerate(self._runs):
            history = histories.get(run.agent.site.index)
            if history is None:
                self._begin(run, self.now_us())
            else:
                await self._fill(run, *history)
            if number % TURN_ROUNDS == 0:
                await asyncio.sleep(0)

    def _begin(self, run: _Run, now_us: int) -> None:
        timeline = self._timeline
        if not run.agent.on:
            run.agent.start(now_us, timeline.wire(now_us), timeline.box_speed)
        step_us = round(self._rhythm.interval_s * 1e6)
        offset_us = round(run.agent.site.offset_s / 60 * step_us)
        first_us = now_us - now_us % step_us + offset_us
        self._schedule(self._rounds, first_us if first_us > now_us else first_us + step_us, run)

    async def _fill(self, run: _Run, since_us: int, interval_s: float) -> None:
        """Let a box have measured since then."""
        agent, timeline = run.agent, self._timeline
        if agent.can_send(self.now_us()) or agent.active(self.now_us()).off:
            await self._slots.acquire()
            run.filling = True
        agent.start(since_us, timeline.wire(since_us), timeline.box_speed)
        step_us, moment_us, made = round(interval_s * 1e6), since_us, 0
        while (moment_us := moment_us + step_us) < self.now_us():
            agent.round(moment_us, timeline.wire(moment_us), write=False)
            made += 1
            if made % TURN_ROUNDS == 0:
                await asyncio.sleep(0)
        self._begin(run, self.now_us())
        self._offer(run)

    async def _keep_time(self) -> None:
        while True:
            now_us = self._clock.now_us()
            made = 0
            simulated_us = self._timeline.simulated(now_us)
            while self._rounds and self._rounds[0][0] <= simulated_us:
                self._round(*heapq.heappop(self._rounds))
                made += 1
                if made % TURN_ROUNDS == 0:
                    await asyncio.sleep(0)
            while self._retries and self._retries[0][0] <= now_us:
                run = heapq.heappop(self._retries)[2]
                self._offer(run)
            self.latest_us = self._rounds[0][0] if self._rounds else simulated_us
            await asyncio.sleep(self._pause_s())

    def _pause_s(self) -> float:
        now_us = self._clock.now_us()
        due = [self._timeline.real(self._rounds[0][0])] if self._rounds else []
        due += [self._retries[0][0]] if self._retries else []
        return min([LONGEST_SLEEP_S, *(max(0.0, (moment_us - now_us) / 1e6) for moment_us in due)])

    def _round(self, due_us: int, _: int, run: _Run) -> None:
        agent = run.agent
        agent.round(due_us, self._timeline.wire(due_us))
        step_us = round(self._rhythm.interval_s * 1e6)
        self._schedule(self._rounds, due_us + step_us, run)
        full = agent.spool.waiting >= run.limit
        if full or due_us - run.sent_us >= round(self._rhythm.report_every_s * 1e6):
            self._offer(run)

    def _schedule(self, heap: list[tuple[int, int, _Run]], moment_us: int, run: _Run) -> None:
        self._number += 1
        heapq.heappush(heap, (moment_us, self._number, run))

    # --- deliveries

    def _offer(self, run: _Run) -> None:
        """Queue an agent for delivery: at most once, so the queue is bounded by the number of agents."""
        if run.queued or self._clock.now_us() < run.not_before_us:
            return
        if not run.agent.on and run.filling:
            self._filled(run)
        if run.agent.on and run.agent.spool.waiting:
            run.queued = True
            self._ready.put_nowait(run)

    async def _deliver(self) -> None:
        while True:
            run = await self._ready.get()
            try:
                await self._deliver_once(run)
            finally:
                run.queued = False
            if run.agent.spool.waiting and run.failures == 0:
                self._again(run)

    def _again(self, run: _Run) -> None:
        """Go on with an agent that has more to say, after a pause if it has one to keep."""
        if self._clock.now_us() >= run.not_before_us:
            self._offer(run)

    async def _deliver_once(self, run: _Run) -> None:
        agent, now_us = run.agent, self.now_us()
        if not agent.can_send(now_us):
            self._back_off(run, 0.0)
            return
        outgoing = agent.take(run.limit)
        if outgoing is None:
            return
        wire_us = self._timeline.wire(self.now_us())
        headers = {"Authorization": f"Bearer {agent.identity.credential}", "Content-Encoding": "gzip"}
        try:
            reply = await self._client.post(RECORDS_PATH, headers, agent.body(outgoing, wire_us))
        except asyncio.CancelledError:
            agent.failed(outgoing)
            raise
        self.requests += 1
        decision = decide(reply, outgoing.records)
        self.outcomes[decision.word] += 1
        await self._act(run, outgoing, decision)

    async def _act(self, run: _Run, outgoing: Outgoing, decision: Decision) -> None:
        agent, reply = run.agent, decision.reply
        if reply is not None:
            agent.settled(outgoing, reply.stored, reply.duplicate, len(reply.rejected))
            run.failures, run.sent_us = 0, self.now_us()
            run.limit = min(self._rhythm.batch_records, run.limit + 1)
            if run.filling and not agent.spool.history:
                self._filled(run)
            if reply.config_etag != agent.config_etag:
                await self._configure(run, reply.config_etag)
            return
        agent.failed(outgoing)
        if decision.step is Step.HALVE and outgoing.records > 1:
            run.limit = max(1, outgoing.records // 2)
            return
        self._back_off(run, decision.wait_s)

    def _back_off(self, run: _Run, asked_s: float) -> None:
        """Come back later: never sooner than asked for, and besides a wait that is spread (by the box's own time)."""
        jitter_s = self._rng.uniform(0, ceiling_s(run.failures)) / self._timeline.speed
        run.failures += 1
        run.not_before_us = self._clock.now_us() + round((asked_s + jitter_s) * 1e6)
        self._schedule(self._retries, run.not_before_us, run)

    def _filled(self, run: _Run) -> None:
        run.filling = False
        self._slots.release()

    async def _configure(self, run: _Run, etag: str | None) -> None:
        """Fetch what to measure, as an agent does when the collector names a new one."""
        agent = run.agent
        headers = {"Authorization": f"Bearer {agent.identity.credential}"}
        if agent.config_etag:
            headers["If-None-Match"] = agent.config_etag
        reply = await self._client.get(CONFIG_PATH, headers)
        self.requests += 1
        if reply.status in (200, 304):
            agent.config_etag = etag

    def snapshot(self, tally: Tally) -> dict[str, object]:
        """Return the counts of this moment."""
        now_us = self.now_us()
        up = sum(run.agent.can_send(now_us) for run in self._runs)
        off = sum(run.agent.active(now_us).off for run in self._runs)
        return {
            "simulated_us": now_us,
            "behind_s": max(0.0, (now_us - self.latest_us) / 1e6) if self._rounds else 0.0,
            "schools": len(self._runs),
            "up": up,
            "off": off,
            "filling": sum(run.filling for run in self._runs),
            "made": tally.made,
            "stored": tally.stored,
            "duplicate": tally.duplicate,
            "rejected": tally.rejected,
            "dropped": tally.dropped,
            "power_lost": tally.power_lost,
            "waiting": self.waiting,
            "requests": self.requests,
            "outcomes": dict(self.outcomes),
        }


def saved(agents: Iterable[SimulatedAgent]) -> str:
    """Return the agents as JSON lines, for a later run."""
    return "".join(json.dumps(agent.saved(), separators=(",", ":")) + "\n" for agent in agents)
