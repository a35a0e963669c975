"""The streams of one test, which together fill the line that one would not."""

from collections.abc import Hashable
from typing import Protocol

from linkbell_wire.ndt7.measurement import GroupInfo


class Member(Protocol):
    """One stream."""

    @property
    def received_bytes(self) -> int:
        """TCP bytes received so far; what it was at the end, once it is over."""


class Group:
    """The streams of one test, in the order they came. The first speaks for all."""

    def __init__(self) -> None:
        self.members: list[Member] = []

    def is_first(self, member: Member) -> bool:
        """Whether ``member`` is the one that speaks."""
        return bool(self.members) and self.members[0] is member

    def info(self, elapsed_s: float) -> GroupInfo:
        """Return what all streams received, ``elapsed_s`` after the first began."""
        received = sum(member.received_bytes for member in self.members)
        return GroupInfo(streams=max(1, len(self.members)), elapsed_us=round(elapsed_s * 1e6), bytes_received=received)


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
