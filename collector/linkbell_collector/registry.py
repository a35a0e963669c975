"""Who may send, and what is shown: schools and agents in memory, and live state kept in step with them.

All agents are held by the hash of their credential. Writes of other processes (an operator's ``agents revoke``) are
noticed by asking the store once a second whether anybody else wrote, so a revocation takes hold within two seconds.
"""

import asyncio
import logging

from linkbell_collector.clock import Clock
from linkbell_collector.domain import Agent, AgentState, Directory, School
from linkbell_collector.errors import CollectorError
from linkbell_collector.live import WANTED, LiveState
from linkbell_collector.resolution import Defaults, Resolver
from linkbell_collector.store.interface import Store

log = logging.getLogger(__name__)
POLL_INTERVAL_S = 1.0
EXPIRE_INTERVAL_S = 600.0
SCHOOLS_AT_ONCE = 500


class Registry:
    """The directory of schools and agents, and the feeder of live state when it changes."""

    def __init__(self, store: Store, live: LiveState, clock: Clock, defaults: Defaults, keep_s: float) -> None:
        self._store = store
        self._live = live
        self._clock = clock
        self._defaults = defaults
        self._keep_us = round(keep_s * 1e6)
        self._read = Directory()
        self._directory = Directory()
        self._shown: dict[str, frozenset[int]] = {}
        self._complete: dict[str, frozenset[int]] = {}
        self._stale = False
        self._asked = 0
        self._answered = 0
        self._tidied_s = clock.monotonic_s()
        self._seen_changes = -1
        self._lock = asyncio.Lock()
        self._trouble: str | None = None
        self._refreshed = asyncio.Condition()
        self.generation = 0

    def agent(self, credential_hash: bytes) -> Agent | None:
        """Return the agent with this credential."""
        return self._directory.agents.get(credential_hash)

    def school(self, school_id: str) -> School | None:
        """Return a school, with the defaults that hold for it filled in."""
        return self._directory.schools.get(school_id)

    @property
    def directory(self) -> Directory:
        """Everything, as last read; schools with the defaults that hold for them."""
        return self._directory

    @property
    def rebuilt(self) -> bool:
        """Tell whether live state is complete."""
        return self.generation > 0

    @property
    def trouble(self) -> str | None:
        """Why changes of schools and agents cannot be followed at the moment, or live state is incomplete."""
        return self._trouble

    @property
    def pending_agents(self) -> int:
        """Agents that wait for an operator."""
        return sum(agent.state is AgentState.PENDING for agent in self._directory.agents.values())

    def is_shown(self, agent: Agent) -> bool:
        """Tell whether what this agent sends enters live state."""
        return agent.key in self._shown.get(agent.school, frozenset())

    async def load(self) -> None:
        """Read everything and rebuild live state. Raises ``CollectorError``."""
        self._seen_changes = await self._store.changes_by_others()
        await self.refresh()

    async def newer_than(self, generation: int) -> None:
        """Wait until the directory has been read anew after ``generation``."""
        async with self._refreshed:
            await self._refreshed.wait_for(lambda: self.generation > generation)

    async def refresh(self) -> None:
        """Read the directory anew, and rebuild live state where the agents that are shown have changed.

        Whoever asks while another reads waits for one more reading, together with all others who do.
        """
        self._asked += 1
        mine = self._asked
        async with self._lock:
            if self._answered >= mine and not self._stale:
                return
            answering = self._asked
            self._stale = True
            read = await self._store.directory()
            schools = await self._resolved(read)
            self._read, self._directory = read, Directory(schools, read.agents, read.regions)
            self._live.set_schools(school for school in schools.values() if school.approved)
            # Before the rebuild: what an agent sends while it runs must not be missed.
            before, self._shown = self._shown, _shown(self._directory)
            self._forget_those_who_lost_agents(before)
            await self._rebuild()
            self._stale = False
            self._answered = answering
            self.generation += 1
        async with self._refreshed:
            self._refreshed.notify_all()

    async def _resolved(self, read: Directory) -> dict[str, School]:
        """Return the schools with their defaults; those of which nothing has changed as they were."""
        before = self._read.schools if read.regions == self._read.regions else {}
        resolver = Resolver(self._defaults, read.regions)
        schools: dict[str, School] = {}
        for number, school in enumerate(read.schools.values(), 1):
            is_known = before.get(school.id) == school
            schools[school.id] = self._directory.schools[school.id] if is_known else resolver.resolve(school)
            if number % SCHOOLS_AT_ONCE == 0:
                await asyncio.sleep(0)  # batches of agents come in between
        return schools

    async def watch(self) -> None:
        """Follow what other processes write, and tidy up, until cancelled."""
        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
            await self.follow()

    async def follow(self) -> None:
        """Look once for changes, and finish what failed before. Whatever goes wrong is logged, and :attr:`trouble`."""
        try:
            await self._look()
        except CollectorError as error:
            if self._trouble is None:
                log.error("cannot follow changes of schools and agents: %s", error)
            self._trouble = error.message
        except Exception:  # the supervisor of the watch: if it ended, no revocation would take hold again
            if self._trouble is None:
                log.exception("cannot follow changes of schools and agents, by a defect of the collector")
            self._trouble = "changes of schools and agents cannot be followed, see the log"
        else:
            if self._trouble is not None:
                log.info("changes of schools and agents are followed again")
            self._trouble = None

    async def _look(self) -> None:
        changes = await self._store.changes_by_others()
        if self._stale or changes != self._seen_changes:
            await self.refresh()
            self._seen_changes = changes
        if self._clock.monotonic_s() - self._tidied_s > EXPIRE_INTERVAL_S:
            self._tidied_s = self._clock.monotonic_s()
            self._live.expire(self._clock.now_us() - self._keep_us)

    def _forget_those_who_lost_agents(self, before: dict[str, frozenset[int]]) -> None:
        """Forget schools with records of an agent that is shown no more: they are rebuilt from the others."""
        for school_id, agents in before.items():
            if agents - self._shown.get(school_id, frozenset()):
                self._live.forget(school_id)
                self._complete.pop(school_id, None)

    async def _rebuild(self) -> None:
        """Read the records of every shown agent that live state does not hold all of; what fails is still to do."""
        wanted = {
            key
            for school_id, agents in self._shown.items()
            for key in agents - self._complete.get(school_id, frozenset())
        }
        if wanted:
            await self._read_into_live(wanted)
        self._complete = dict(self._shown)

    async def _read_into_live(self, wanted: set[int]) -> None:
        for agent in self._directory.agents.values():
            if agent.key in wanted and agent.report is not None:
                self._live.report(agent, agent.report, agent.account)
        async for piece in self._store.latest(wanted, WANTED):
            for school_id, dated in piece:
                self._live.apply(school_id, dated)


def _shown(directory: Directory) -> dict[str, frozenset[int]]:
    """Return, per approved school, the agents whose records are shown."""
    shown: dict[str, set[int]] = {}
    for agent in directory.agents.values():
        school = directory.schools.get(agent.school)
        if agent.state is AgentState.ACTIVE and school is not None and school.approved:
            shown.setdefault(agent.school, set()).add(agent.key)
    return {school_id: frozenset(keys) for school_id, keys in shown.items()}
