"""Slots and rates: never more than the limit, nor than one address's part, free again however the test ended."""

import contextlib

import pytest

from linkbell_collector.measure.admission import AddressBusyError, NoSlotError, RateBudget, Slots
from linkbell_wire.ndt7 import MAX_STREAMS


class Hands:
    """A clock that moves when told."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_the_one_too_many_is_told_when_the_first_must_be_over() -> None:
    clock = Hands()
    slots = Slots(2, 13.0, clock)
    with slots.hold():
        clock.now_s += 4
        with slots.hold():
            clock.now_s += 0.5
            with pytest.raises(NoSlotError) as caught, slots.hold():
                pass
            assert caught.value.retry_after_s == 9
            assert slots.taken == 2
    assert slots.taken == 0


def test_nobody_is_told_to_come_back_at_once() -> None:
    clock = Hands()
    slots = Slots(1, 13.0, clock)
    with slots.hold():
        clock.now_s += 20
        with pytest.raises(NoSlotError) as caught, slots.hold():
            pass
    assert caught.value.retry_after_s == 1


def test_a_slot_is_free_again_after_an_exception() -> None:
    slots = Slots(1, 13.0, Hands())
    with pytest.raises(ZeroDivisionError), slots.hold():
        raise ZeroDivisionError
    with slots.hold():
        assert slots.taken == 1


def test_streams_of_one_test_share_its_slot_and_the_last_frees_it() -> None:
    slots = Slots(1, 13.0, Hands())
    with slots.hold("mine"):
        with slots.hold("mine"):
            assert slots.taken == 1
        with pytest.raises(NoSlotError), slots.hold("another"):
            pass
        assert slots.taken == 1
    with slots.hold("another"):
        assert slots.taken == 1


def test_a_test_has_no_more_streams_than_allowed() -> None:
    slots = Slots(1, 13.0, Hands())
    with contextlib.ExitStack() as streams:
        for _ in range(MAX_STREAMS):
            streams.enter_context(slots.hold("mine"))
        with pytest.raises(NoSlotError):
            streams.enter_context(slots.hold("mine"))


def test_streams_that_come_and_go_are_counted_all_the_same() -> None:
    slots = Slots(1, 13.0, Hands())
    with slots.hold("mine"):
        for _ in range(MAX_STREAMS - 1):
            with slots.hold("mine"):
                pass
        with pytest.raises(NoSlotError), slots.hold("mine"):
            pass


def test_who_waits_is_told_when_the_last_stream_must_be_over() -> None:
    clock = Hands()
    slots = Slots(1, 13.0, clock)
    with slots.hold("mine"):
        clock.now_s += 5
        with slots.hold("mine"):
            with pytest.raises(NoSlotError) as caught, slots.hold():
                pass
            assert caught.value.retry_after_s == 13


def test_nobody_keeps_a_slot_for_ever_by_adding_streams() -> None:
    clock = Hands()
    slots = Slots(1, 13.0, clock)
    with slots.hold("mine"):
        clock.now_s += 6.6
        with pytest.raises(NoSlotError), slots.hold("mine"):
            pass


def test_a_test_that_may_take_longer_is_waited_for_longer() -> None:
    clock = Hands()
    slots = Slots(1, 13.0, clock)
    with slots.hold(longest_s=60.0):
        clock.now_s += 20
        with pytest.raises(NoSlotError) as caught, slots.hold():
            pass
    assert caught.value.retry_after_s == 40


# --- one address


def test_one_address_has_its_part_of_the_slots_and_others_the_rest() -> None:
    clock = Hands()
    slots = Slots(4, 13.0, clock, per_address=2)
    with contextlib.ExitStack() as tests:
        tests.enter_context(slots.hold(address="a"))
        clock.now_s += 3
        tests.enter_context(slots.hold(address="b"))
        clock.now_s += 1
        tests.enter_context(slots.hold(address="a"))
        with pytest.raises(AddressBusyError) as caught:
            tests.enter_context(slots.hold(address="a"))
        assert caught.value.retry_after_s == 9  # when its own first is over
        tests.enter_context(slots.hold(address="c"))
        with pytest.raises(NoSlotError) as full:
            tests.enter_context(slots.hold(address="a"))
        assert not isinstance(full.value, AddressBusyError)  # nobody would get in


def test_streams_of_one_test_count_once_for_their_address() -> None:
    slots = Slots(4, 13.0, Hands(), per_address=1)
    with contextlib.ExitStack() as streams:
        for _ in range(MAX_STREAMS):
            streams.enter_context(slots.hold("mine", address="a"))
        with pytest.raises(AddressBusyError):
            streams.enter_context(slots.hold("another", address="a"))
    with slots.hold("another", address="a"):
        assert slots.taken == 1


def test_without_a_limit_one_address_may_take_all() -> None:
    slots = Slots(3, 13.0, Hands(), per_address=0)
    with slots.hold(address="a"), slots.hold(address="a"), slots.hold(address="a"):
        assert slots.taken == 3


def test_one_address_has_its_part_of_the_rate() -> None:
    clock = Hands()
    budget = RateBudget(100e6, 18.0, clock, share=0.5)
    with contextlib.ExitStack() as checks:
        checks.enter_context(budget.hold(30e6, address="a"))
        clock.now_s += 4
        with pytest.raises(AddressBusyError) as caught:
            checks.enter_context(budget.hold(30e6, address="a"))
        assert caught.value.retry_after_s == 14
        checks.enter_context(budget.hold(20e6, address="a"))
        checks.enter_context(budget.hold(30e6, address="b"))
        with pytest.raises(NoSlotError) as full:
            checks.enter_context(budget.hold(30e6, address="c"))
        assert not isinstance(full.value, AddressBusyError)
        assert full.value.retry_after_s == 14


def test_one_check_alone_may_be_faster_than_its_address_s_part() -> None:
    budget = RateBudget(100e6, 18.0, Hands(), share=0.1)
    with budget.hold(90e6, address="a"):
        with pytest.raises(AddressBusyError), budget.hold(1e6, address="a"):
            pass
        with budget.hold(10e6, address="b"):
            pass
    with pytest.raises(NoSlotError), budget.hold(101e6, address="a"):
        pass
