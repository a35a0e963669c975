"""Moves of the default route: which are reported, when, and that none goes unsaid."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.failover import HOLDS_S, HOUR_S, MOST_AN_HOUR, DefaultRoute, Move
from linkbell_agent.route_watch import FILE, Details, Looking, RouteWatch

A, B = "fibre", "4g"


def seen(*sights: tuple[float, str | None], route: DefaultRoute | None = None) -> list[Move]:
    route = route or DefaultRoute()
    moves = [route.see(carrier, now_s) for now_s, carrier in sights]
    return [move for move in moves if move is not None]


SIGHTS: list[tuple[str, list[tuple[float, str | None]], list[Move]]] = [
    ("a start is no move", [(0, A), (20, A)], []),
    ("nor is a route that comes up after the start", [(0, None), (60, A), (80, A)], []),
    ("a move counts once it has held", [(0, A), (5, B), (10, B), (15, B)], [Move(A, B, 1)]),
    ("not before", [(0, A), (5, B), (10, B)], []),
    ("a lease that is renewed is none", [(0, A), (5, None), (10, A), (30, A)], []),
    ("and back", [(0, A), (5, B), (15, B), (95, A), (105, A)], [Move(A, B, 1), Move(B, A, 1)]),
    ("to nothing at all", [(0, A), (5, None), (15, None)], [Move(A, None, 1)]),
    ("what changes its mind has not held", [(0, A), (5, B), (10, None), (15, B), (20, B)], []),
]


@pytest.mark.parametrize(("sights", "moves"), [row[1:] for row in SIGHTS], ids=[row[0] for row in SIGHTS])
def test_a_move_is_one_that_holds(sights: list[tuple[float, str | None]], moves: list[Move]) -> None:
    assert seen(*sights) == moves


def test_a_route_that_flaps_is_reported_and_is_no_storm() -> None:
    route, sights = DefaultRoute(), [(0.0, A)]
    for turn in range(1, 101):
        now_s = turn * 30.0
        sights += [(now_s, (A, B)[turn % 2]), (now_s + HOLDS_S, (A, B)[turn % 2])]
    flapping = seen(*sights, route=route)
    assert len(flapping) == MOST_AN_HOUR
    later = seen((sights[-1][0] + HOUR_S, B), (sights[-1][0] + HOUR_S + HOLDS_S, B), route=route)
    assert later == [Move(flapping[-1].now, B, 100 - MOST_AN_HOUR + 1)]


@given(st.lists(st.sampled_from([A, B, None]), min_size=1, max_size=200))
def test_what_was_reported_last_is_the_case_once_things_are_quiet(carriers: list[str | None]) -> None:
    route, reported = DefaultRoute(), None
    quiet = [carriers[-1]] * 800
    for number, carrier in enumerate([*carriers, *quiet]):
        was_known = route.is_known
        move = route.see(carrier, 5.0 * number)
        if move is not None:
            assert move.before == reported
            assert move.before != move.now
            reported = move.now
        elif route.is_known and not was_known:
            reported = route.carrier
    assert reported == (carriers[-1] if route.is_known else None)


class Box:
    """A route watch whose kernel and clock are told."""

    def __init__(self, state: Path, carrier: str | None) -> None:
        self.carrier = carrier
        self.now_s = 0.0
        looking = Looking([A, B], lambda: self.carrier, lambda move: {"reason": "route_gone", "back": move.now == A})
        self.watch = RouteWatch(state, looking, lambda: self.now_s)

    def look(self, *, seconds: float = 30.0) -> list[Details]:
        found = []
        for _ in range(int(seconds / 5)):
            details = self.watch.look(lambda name: {A: "lan_down", B: "ok"}.get(name or ""))
            found += [details] if details is not None else []
            self.now_s += 5
        return found


def test_an_event_says_from_where_to_where_why_and_how_both_are(tmp_path: Path) -> None:
    box = Box(tmp_path, A)
    assert box.look() == []
    box.carrier = B
    (event,) = box.look()
    assert event == {
        "from": A,
        "to": B,
        "reason": "route_gone",
        "back": False,
        "from_verdict": "lan_down",
        "to_verdict": "ok",
        "changes": 1,
        "while_stopped": False,
    }
    assert (box.watch.carries(A), box.watch.carries(B)) == (False, True)


def test_a_move_while_no_agent_ran_is_reported_at_the_next_start(tmp_path: Path) -> None:
    Box(tmp_path, A).look()
    assert json.loads((tmp_path / FILE).read_text()) == {"carrier": A}
    (event,) = Box(tmp_path, B).look()
    assert (event["from"], event["to"], event["while_stopped"]) == (A, B, True)
    assert Box(tmp_path, B).look() == []


def test_a_move_after_the_start_is_not_of_the_time_before(tmp_path: Path) -> None:
    Box(tmp_path, A).look()
    box = Box(tmp_path, A)
    box.look()
    box.carrier = B
    assert [event["while_stopped"] for event in box.look()] == [False]


@pytest.mark.parametrize("kept", ["", "{}", "[]", "null", '{"carrier": "satellite"}', '{"carrier": 7}', "{"])
def test_what_cannot_be_read_or_is_no_uplink_any_more_is_forgotten(tmp_path: Path, kept: str) -> None:
    (tmp_path / FILE).write_text(kept)
    assert Box(tmp_path, B).look() == []


def test_a_disk_that_takes_nothing_is_no_reason_not_to_look(tmp_path: Path) -> None:
    box = Box(tmp_path / "gone", A)
    box.look()
    box.carrier = B
    assert len(box.look()) == 1
