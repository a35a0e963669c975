"""The streams of one test, and what they received together."""

from dataclasses import dataclass

from linkbell_collector.measure.group import Group, Groups
from linkbell_wire.ndt7 import MAX_STREAMS


@dataclass
class Stream:
    received_bytes: int = 0


def test_the_first_speaks_for_all_also_when_it_has_gone() -> None:
    group, first, second = Group(), Stream(), Stream()
    group.join(first)
    group.join(second)
    assert (group.is_first(first), group.is_first(second)) == (True, False)
    group.leave(first)
    assert not group.is_first(second)


def test_what_a_stream_received_stays_and_it_does_not() -> None:
    group, first = Group(), Stream()
    group.join(first)
    for _ in range(1000):
        stream = Stream(received_bytes=5)
        group.join(stream)
        group.leave(stream)
        group.leave(stream)
    first.received_bytes = 7
    info = group.info(1.5)
    assert (info.bytes_received, info.elapsed_us, info.streams) == (5007, 1_500_000, MAX_STREAMS)


def test_a_group_is_forgotten_with_its_last_stream() -> None:
    groups = Groups()
    one, same = groups.enter("test"), groups.enter("test")
    assert one is same
    groups.leave("test")
    assert groups.enter("test") is one
    groups.leave("test")
    groups.leave("test")
    assert groups.enter("test") is not one
