"""What a record cost on the line is never less than its payload, and never more than what was reserved for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.budget.cost import check_cost, ping_bytes, speed_cost, spent_bytes
from linkbell_wire import floor
from linkbell_wire.records import SpeedResult
from linkbell_wire.words import Layer, PingMethod, Stop
from tests.agent.budget.world import WorldClock, check_record, speed_record
from tests.agent.fakes import event_record, ping_record

CLOCK = WorldClock()


@given(st.integers(2_000_000, 500_000_000), st.floats(0, 1), st.floats(0, 1), st.floats(1e5, 1e9), st.floats(0, 0.1))
def test_a_test_within_its_cap_costs_no_more_than_was_reserved(
    cap: int, down: float, up: float, bps: float, retransmitted: float
) -> None:
    record = speed_record(CLOCK, round(down * cap), round(up * cap), cap)

    def with_rate(result: SpeedResult | None) -> SpeedResult | None:
        update = {"bps": bps, "retransmit_ratio": retransmitted}
        return None if result is None else result.model_copy(update=update)

    record = record.model_copy(
        update={"download": with_rate(record.download), "upload": with_rate(record.upload), "probe_bytes": 200_000}
    )
    assert record.cost_bytes <= spent_bytes(record) <= speed_cost(cap, 2, bps, None).worst_bytes


@given(st.floats(floor.MIN_FLOOR_BPS, floor.MAX_FLOOR_BPS))
def test_a_check_costs_no_more_than_was_reserved(floor_bps: float) -> None:
    record = check_record(CLOCK, floor.budget_bytes(floor_bps)).model_copy(update={"retransmit_ratio": 0.1})
    assert record.bytes * 1.12 <= spent_bytes(record) <= check_cost(floor_bps).worst_bytes


def test_a_download_that_is_cut_off_costs_what_still_comes() -> None:
    whole, cut = speed_record(CLOCK, 9_000_000, 0), speed_record(CLOCK, 9_000_000, 0, 9_000_000)
    assert cut.download is not None
    assert cut.download.stop is Stop.BYTES
    assert spent_bytes(cut) - spent_bytes(whole) == 20e6 / 8 * 0.5


def test_a_test_that_no_server_took_costs_next_to_nothing() -> None:
    record = speed_record(CLOCK, 0, 0)
    assert spent_bytes(record) == record.probe_bytes


def test_pings_count_packets_and_those_of_the_gateway_never_leave_the_school() -> None:
    record = ping_record().model_copy(update={"layer": Layer.ISP})
    assert spent_bytes(record) == ping_bytes(1) == 196
    assert ping_bytes(3, PingMethod.TCP) == 888
    assert spent_bytes(ping_record()) == 0
    assert spent_bytes(event_record()) == 0  # type: ignore[arg-type, unused-ignore]


@pytest.mark.parametrize(("typical", "expected"), [(None, "worst"), (5_000_000, 5_000_000), (10**12, "worst")])
def test_a_test_is_expected_to_cost_what_tests_cost_here(typical: int | None, expected: int | str) -> None:
    cost = speed_cost(20_000_000, 2, None, typical)
    assert cost.expected_bytes == (cost.worst_bytes if expected == "worst" else expected)
