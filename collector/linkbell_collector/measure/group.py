"""The streams of one test, which together fill the line that one would not."""

from collections.abc import Hashable
from typing import Protocol

from linkbell_wire.ndt7 import MAX_STREAMS
from linkbell_wire.ndt7.measurement import GroupInfo


class Member(Protocol):
    """One stream."""

    @property
    def received_bytes(self) -> int:
        """TCP bytes received so far; what it was at the end, once it is over."""


class Group:
    """The streams of one test, in the order they came. The first speaks for all.

    What a stream received is kept when it goes, the stream itself is not: who comes and goes may not cost memory.
    """

    def __init__(self) -> None:
        self._members: list[Member] = []
        self._speaker: Member | None = None
        self._gone_bytes = 0
        self.joined = 0
        """How many streams there ever were."""

    def join(self, member: Member) -> None:
        """Take one more stream in."""
        self._speaker = self._speaker or member
        self._members.append(member)
        self.joined += 1

    def leave(self, member: Member) -> None:
        """Let a stream go. Doing so twice is harmless."""
        if member in self._members:
            self._members.remove(member)
            self._gone_bytes += member.received_bytes

    def is_first(self, member: Member) -> bool:
        """Whether ``member`` is the one that speaks."""
        return self._speaker is member

    def info(self, elapsed_s: float) -> GroupInfo:
        """Return what all streams received, ``elapsed_s`` after the first began."""
        received = self._gone_bytes + sum(member.received_bytes for member in self._members)
        streams = min(max(1, self.joined), MAX_STREAMS)
        return GroupInfo(streams=streams, elapsed_us=round(elapsed_s * 1e6), bytes_received=received)


class Groups:
    """The groups under way, by test. One is forgotten with its last stream."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, tuple[Group, int]] = {}

    def enter(self, test: Hashable) -> Group:
        """Return the group of ``test``, for one more stream."""
        group, streams = self._groups.get(test, (Group(), 0))
        self._groups[test] = (group, streams + 1)
        return group

    def leave(self, test: Hashable) -> None:
        """Take one stream out again."""
        group, streams = self._groups.pop(test)
        if streams > 1:
            self._groups[test] = (group, streams - 1)
