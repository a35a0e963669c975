"""Where the fault is: every combination of layers, the rows that matter in words, and when a finding is believed."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.layers.states import Health, LayerStates, together
from linkbell_agent.layers.verdict import Verdict, decide, locate
from linkbell_wire.words import Layer, VerdictState

UP, IMPAIRED, DOWN, UNKNOWN = Health.UP, Health.IMPAIRED, Health.DOWN, Health.UNKNOWN
NAMES = [layer.value for layer in Layer]
FAR = ("domestic", "international", "platform", "collector")


def states_of(row: Iterable[Health]) -> LayerStates:
    named: dict[str, Any] = dict(zip(NAMES, row, strict=True))
    return LayerStates(**named)


ALL = [states_of(row) for row in product((UP, DOWN, UNKNOWN), repeat=7)]
EVERY = [states_of(row) for row in product(Health, repeat=7)]
WELL = states_of([UP] * 7)
DEAD = states_of([DOWN] * 7)

ROWS = [
    ("all is well", WELL, "ok"),
    ("nothing was found out", LayerStates(), "ok"),
    ("a box with the settings it comes with", replace(WELL, domestic=UNKNOWN, platform=UNKNOWN), "ok"),
    ("the gateway is dead", DEAD, "lan_down"),
    ("a dead gateway, first hop never found", replace(DEAD, isp=UNKNOWN), "lan_down"),
    ("a dead gateway, a name server in the school", replace(DEAD, dns=UP, local_dns=True), "lan_down"),
    ("the gateway ignores pings", replace(WELL, gateway=DOWN), "ok"),
    ("gateway and first hop ignore pings", replace(WELL, gateway=DOWN, isp=DOWN), "ok"),
    ("only the name server answers through a silent gateway", replace(DEAD, dns=UP), "isp_down"),
    ("the line is cut behind the gateway", replace(DEAD, gateway=UP), "isp_down"),
    ("cut, first hop never found", replace(DEAD, gateway=UP, isp=UNKNOWN), "isp_down"),
    ("cut, first hop never found, router answers names", replace(DEAD, gateway=UP, isp=UNKNOWN, dns=UP), "isp_down"),
    ("the provider is cut beyond its first hop", replace(DEAD, gateway=UP, isp=UP), "isp_down"),
    (
        "the same where nothing within the country is asked",
        replace(DEAD, gateway=UP, isp=UP, domestic=UNKNOWN),
        "isp_down",
    ),
    (
        "the same, and the school's router still answers names from memory",
        replace(DEAD, gateway=UP, isp=UP, domestic=UNKNOWN, dns=UP, local_dns=True),
        "isp_down",
    ),
    (
        "abroad is cut, the provider's name server works",
        replace(DEAD, gateway=UP, isp=UP, domestic=UNKNOWN, dns=UP),
        "int",
    ),
    ("abroad is cut", replace(WELL, international=DOWN), "int"),
    ("abroad is cut, and the collector stands there", replace(WELL, international=DOWN, collector=DOWN), "int"),
    ("abroad is cut, all platforms stand there", replace(WELL, international=DOWN, platform=DOWN), "int"),
    ("only abroad is asked, and fails", LayerStates(gateway=UP, international=DOWN), "int"),
    ("the name server is dead", replace(WELL, dns=DOWN, platform=UNKNOWN, collector=UNKNOWN), "dns_fault"),
    ("the name server is dead, all else has names", replace(LayerStates(), gateway=UP, isp=UP, dns=DOWN), "dns_fault"),
    (
        "name server and abroad fail together",
        replace(LayerStates(), gateway=UP, dns=DOWN, international=DOWN),
        "isp_down",
    ),
    ("a login page", replace(DEAD, gateway=UP, portal=True), "captive_portal"),
    ("a login page that lets pings through", replace(WELL, platform=UNKNOWN, portal=True), "captive_portal"),
    ("a login page that lies about names", replace(WELL, dns=DOWN, platform=DOWN, portal=True), "captive_portal"),
    ("a platform is dead", replace(WELL, platform=DOWN), "platform_down"),
    ("one platform of two is dead, or it answers with errors", replace(WELL, platform=IMPAIRED), "platform_down"),
    ("platform and collector are dead", replace(WELL, platform=DOWN, collector=DOWN), "platform_down"),
    ("the collector is dead", replace(WELL, collector=DOWN), "collector"),
    ("the collector's host lives, the collector does not", replace(WELL, collector=IMPAIRED), "collector"),
    ("only the collector is asked, and fails", LayerStates(gateway=UP, collector=DOWN), "collector"),
    ("one of two targets abroad is dead", replace(WELL, international=IMPAIRED), "ok"),
    ("one of two name servers is dead", replace(WELL, dns=IMPAIRED), "ok"),
    ("packets are lost", replace(WELL, degraded=True), "degraded"),
    ("packets are lost and a platform is dead", replace(WELL, degraded=True, platform=DOWN), "platform_down"),
    ("targets in the country fail, abroad answers", replace(WELL, domestic=DOWN), "degraded"),
]
SHORT = {"int": VerdictState.INTERNATIONAL_DOWN, "collector": VerdictState.COLLECTOR_UNREACHABLE}


@pytest.mark.parametrize(("states", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_fault_is_found(states: LayerStates, expected: str) -> None:
    assert locate(states) is (SHORT.get(expected) or VerdictState(expected))


def test_every_combination_of_three_states_and_of_all_four_has_an_answer() -> None:
    assert (len(ALL), len(EVERY)) == (3**7, 4**7)
    assert {locate(states) for states in EVERY} == set(VerdictState) - {VerdictState.CAPTIVE_PORTAL}


def test_the_school_is_never_blamed_while_anything_beyond_answers() -> None:
    for states in EVERY:
        if any(health.answers for health in (*states.far, states.isp, states.dns)):
            assert locate(states) is not VerdictState.LAN_DOWN, states


def test_a_gateway_that_is_down_with_nothing_beyond_it_is_the_fault_whatever_else_fails() -> None:
    for states in EVERY:
        if states.gateway is DOWN and not any(health.answers for health in (*states.far, states.isp, states.dns)):
            assert locate(states) is VerdictState.LAN_DOWN, states


def test_the_provider_is_never_blamed_while_anything_beyond_it_answers() -> None:
    for states in EVERY:
        if any(health.answers for health in states.far):
            assert locate(states) not in (VerdictState.LAN_DOWN, VerdictState.ISP_DOWN), states


def test_what_the_gateway_and_the_first_hop_say_does_not_matter_when_something_beyond_answers() -> None:
    for states in EVERY:
        if any(health.answers for health in states.far):
            others = {locate(replace(states, gateway=g, isp=i)) for g in Health for i in Health}
            assert len(others) == 1, states


BLAMED = {
    VerdictState.LAN_DOWN: ("gateway",),
    VerdictState.ISP_DOWN: ("isp", "dns", *FAR),
    VerdictState.DNS_FAULT: ("dns",),
    VerdictState.INTERNATIONAL_DOWN: ("international",),
    VerdictState.PLATFORM_DOWN: ("platform",),
    VerdictState.COLLECTOR_UNREACHABLE: ("collector",),
    VerdictState.DEGRADED: ("domestic",),
}


def test_the_unknown_never_makes_a_fault() -> None:
    """Whatever is blamed has itself been seen to fail, and without any failure all is well."""
    for states in EVERY:
        verdict = locate(states)
        if verdict is VerdictState.OK:
            continue
        seen = {states.of(Layer(name)) for name in BLAMED[verdict]}
        assert seen & {DOWN, IMPAIRED}, states


def test_forgetting_what_failed_never_makes_a_verdict_of_nothing() -> None:
    for states in EVERY:
        forgotten = states_of(UNKNOWN if states.of(layer) in (DOWN, IMPAIRED) else UP for layer in Layer)
        assert locate(forgotten) is VerdictState.OK


def test_a_login_page_explains_everything_behind_it() -> None:
    assert {locate(replace(states, portal=True)) for states in EVERY} == {VerdictState.CAPTIVE_PORTAL}


def test_bad_quality_only_shows_where_nothing_is_broken() -> None:
    for states in EVERY:
        plain, worse = locate(states), locate(replace(states, degraded=True))
        assert worse is (VerdictState.DEGRADED if plain is VerdictState.OK else plain)


@pytest.mark.parametrize(
    ("healths", "layer"),
    [
        ([], UNKNOWN),
        ([UNKNOWN, UNKNOWN], UNKNOWN),
        ([UP, UNKNOWN], UP),
        ([DOWN, UNKNOWN], DOWN),
        ([DOWN, DOWN], DOWN),
        ([UP, DOWN], IMPAIRED),
        ([IMPAIRED, DOWN], IMPAIRED),
        ([UP, IMPAIRED], IMPAIRED),
    ],
)
def test_a_layer_is_down_only_if_none_of_its_targets_answers(healths: list[Health], layer: Health) -> None:
    assert together(healths) is layer


# --- when a finding is believed

CUT = replace(DEAD, gateway=UP)


def after(*rounds: LayerStates, start: Verdict | None = None) -> Verdict:
    """Rounds a minute apart."""
    verdict = start or Verdict()
    for number, states in enumerate(rounds):
        verdict = decide(states, verdict, 60.0 * number)
    return verdict


def test_a_single_lost_round_is_no_fault() -> None:
    verdict = after(WELL, CUT)
    assert (verdict.state, verdict.pending, verdict.is_settled) == (VerdictState.OK, VerdictState.ISP_DOWN, False)
    assert after(WELL, CUT, WELL) == Verdict(VerdictState.OK, 0.0)
    assert after(WELL, CUT, WELL, CUT, WELL, CUT).state is VerdictState.OK


def test_two_rounds_that_agree_are_believed_and_the_time_is_the_second_ones() -> None:
    assert after(WELL, CUT, CUT) == Verdict(VerdictState.ISP_DOWN, 120.0)
    assert after(WELL, CUT, CUT, WELL, WELL) == Verdict(VerdictState.OK, 240.0)


def test_a_line_that_fails_differently_each_time_does_not_stay_ok() -> None:
    assert after(WELL, CUT, DEAD).state is VerdictState.OK
    assert after(WELL, CUT, DEAD, CUT).state is VerdictState.ISP_DOWN


def test_the_first_good_round_is_believed_at_once_and_the_first_bad_one_is_not() -> None:
    assert after(WELL) == Verdict(VerdictState.OK, 0.0)
    assert after(DEAD).state is None
    assert after(DEAD, DEAD).state is VerdictState.LAN_DOWN


@given(st.lists(st.sampled_from([WELL, CUT, DEAD, replace(WELL, dns=DOWN)]), max_size=30))
def test_the_verdict_is_always_one_of_the_last_three_rounds_or_what_it_was(rounds: list[LayerStates]) -> None:
    verdict = Verdict()
    for number, states in enumerate(rounds):
        before, verdict = verdict, decide(states, verdict, float(number))
        if verdict.state is not before.state:
            assert verdict.state is locate(states)
            assert verdict.is_settled
        assert verdict.against < 3
        if number >= 2 and len({locate(one) for one in rounds[number - 2 : number + 1]}) == 1:
            assert verdict.state is locate(states)
