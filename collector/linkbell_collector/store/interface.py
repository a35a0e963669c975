"""What the collector asks of a store. Every method opens its own transaction; all may raise ``CollectorError``."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Protocol

from linkbell_collector.domain import (
    Agent,
    Delivery,
    Directory,
    Enrolled,
    LiveRecord,
    Removed,
    School,
    SchoolEdits,
    Settled,
    Token,
    Wanted,
)
from linkbell_collector.profile import Profile
from linkbell_collector.store.retention import Pruned
from linkbell_collector.store.rollups import HistoryWanted, SeriesSums
from linkbell_wire.enrolment import EnrolRequest


class Sink(Protocol):
    """Where ingest ends: the only part of a store the hot path knows."""

    async def settle(self, delivery: Delivery) -> Settled:
        """Keep a delivery and return once it is durable. Sending it again is harmless.

        Raises ``CollectorError`` with code ``overloaded``, ``storage_full`` or ``storage_failed``: then nothing of it
        is kept, and the agent must send it again.
        """


class Store(Sink, Protocol):
    """All of it."""

    async def claim(self) -> None:
        """Become the one collector that records go through. Raises ``RefusedError`` if another one serves.

        Needed before records may come; operators' commands do without.
        """

    async def close(self) -> None:
        """Finish what is queued, commit, and let go of the database."""

    async def check_writable(self, now_us: int) -> None:
        """Write something small and durable. Raises ``CollectorError`` with the reason if that fails."""

    async def prune(self, now_us: int) -> Pruned:
        """Remove one small piece of what is kept no longer; ``more`` asks to be called again.

        What was settled stays settled: a record sent again after it was removed is still a duplicate.
        """

    async def directory(self) -> Directory:
        """Return all schools, agents and regions."""

    async def changes_by_others(self) -> int:
        """Return a number that differs from the last one if another process has written meanwhile."""

    def latest(self, agents: Collection[int], wanted: Wanted) -> AsyncIterator[Sequence[LiveRecord]]:
        """Yield, in pieces, the records live state is rebuilt from, for the agents with these keys."""

    async def hours(self, wanted: HistoryWanted) -> Sequence[SeriesSums]:
        """Return the sums of the hours of a school."""

    async def days(self, wanted: HistoryWanted) -> Sequence[SeriesSums]:
        """Return the sums of the days of a school."""

    async def enrol(self, request: EnrolRequest, credential_hash: bytes, now_us: int) -> Enrolled:
        """Take a join token for an agent's credential, counting its use. Raises ``CollectorError`` to refuse."""

    async def add_school(self, school: School, now_us: int) -> None:
        """Add a school. Raises ``RefusedError`` if it is known."""

    async def update_school(self, school: School) -> None:
        """Replace what is known of a school. Raises ``RefusedError`` if it is not known."""

    async def add_schools(self, schools: Sequence[School], now_us: int) -> None:
        """Add schools, or replace what is known of them, all or none."""

    async def revoke_simulated(self) -> int:
        """Refuse the agents of simulated schools from now on. Return how many schools there are."""

    async def remove_simulated(self) -> Removed:
        """Remove simulated schools with their agents and records, in pieces that hold nobody up for long."""

    async def edit_schools(self, edits: SchoolEdits, now_us: int, progress: Callable[[int], None]) -> None:
        """Add and change many schools, all or none; of a changed one only the fields that are named.

        ``progress`` is told, in another thread, how many are done. Raises ``RefusedError`` if one that is to be added
        is known meanwhile, or one to be changed is not.
        """

    async def set_region(self, name: str, profile: Profile | None) -> None:
        """Keep what is set for a region; ``None`` sets nothing any more, and raises ``RefusedError`` if nothing was."""

    async def add_token(self, token: Token, token_hash: bytes) -> bool:
        """Add a join token; make its school if that is unknown, and return whether it was."""

    async def tokens(self) -> Sequence[Token]:
        """Return all join tokens, newest first."""

    async def revoke_token(self, token_id: str, now_us: int) -> None:
        """Make a join token useless from now on. Raises ``RefusedError`` if it is not known."""

    async def approve(self, agent_id: str) -> Agent:
        """Make a pending agent active and its school approved. Raises ``RefusedError``."""

    async def revoke_agent(self, agent_id: str) -> Agent:
        """Refuse an agent's credential from now on. Raises ``RefusedError`` if it is not known."""
