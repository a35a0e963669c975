"""What is shown is what was found: verdicts in their time, holes as holes, faults of a week, slow lines."""

from datetime import UTC, timedelta, timezone

import pytest

from linkbell_agent.page.facts import Facts
from linkbell_agent.page.view import DAY_S, Span, View, buckets, make_view
from linkbell_agent.recent.history import History
from linkbell_agent.recent.stretch import Check, Event, Speed, Verdict
from linkbell_wire.words import VerdictState
from tests.agent.page.school_day import BOOT, FLOOR_BPS, NOW, POWER_CUT, UPTIME_S, school_day, school_facts

NOW_S = NOW.timestamp()


def view(history: History, **facts: object) -> View:
    return make_view(school_facts(**facts), history, None)


def ago_min(at_s: float) -> int:
    return round((NOW_S - at_s) / 60)


def minutes(spans: object) -> list[tuple[int, int, str | None]]:
    assert isinstance(spans, list)
    return [(ago_min(span.start_s), ago_min(span.end_s), span.state) for span in spans]


def test_the_day_is_told_without_holes_and_the_power_cut_is_not_called_a_fault() -> None:
    seen = view(school_day())
    assert minutes(seen.timeline) == [
        (1440, 1330, "ok"),
        (1330, 1290, "isp_down"),
        (1290, 980, "ok"),
        (980, 904, None),
        (904, 700, "ok"),
        (700, 520, "degraded"),
        (520, 300, "ok"),
        (300, 255, "international_down"),
        (255, 0, "ok"),
    ]
    assert [span.state for span in seen.outages] == ["isp_down", "degraded", "international_down"]
    assert POWER_CUT == (980, 905)


@pytest.mark.parametrize("state", VerdictState)
def test_a_verdict_lasts_from_its_record_until_now(state: VerdictState) -> None:
    seen = view(school_day(state))
    assert seen.verdict == state.value
    assert seen.since_s is not None
    assert ago_min(seen.since_s) == (255 if state is VerdictState.OK else 10)
    assert seen.tone == {"ok": "good"}.get(state.value, seen.timeline[-1].tone)


def test_after_a_start_nothing_is_known_until_the_first_verdict() -> None:
    seen = view(school_day(None))
    assert (seen.verdict, seen.tone, seen.since_s) == (None, "unknown", None)


def test_a_restart_of_a_moment_does_not_interrupt_the_verdict() -> None:
    history = History(BOOT)
    at = UPTIME_S - 7200
    history.present.verdicts.append(Verdict(at, "isp_down"))
    for event, after_s in (("stop", 3600.0), ("start", 3610.0)):
        history.present.events.append(Event(at + after_s, event))
    history.present.verdicts.append(Verdict(at + 3700, "isp_down"))
    seen = view(history)
    assert minutes(seen.timeline) == [(120, 0, "isp_down")]
    assert seen.since_s is not None
    assert ago_min(seen.since_s) == 120


def test_an_agent_that_does_not_run_says_nothing_of_now() -> None:
    later_s = 3600.0
    seen = view(school_day(), running=False, now_s=NOW_S + later_s, boottime_s=UPTIME_S + later_s)
    assert (seen.verdict, seen.tone) == (None, "unknown")
    assert seen.timeline[-1].state is None
    assert seen.timeline[-1].end_s - seen.timeline[-1].start_s == pytest.approx(later_s, abs=120)


def speeds(*downloads: float) -> History:
    history = History(BOOT)
    for place, bps in enumerate(downloads):
        at = UPTIME_S - 3600 + place
        history.present.speeds.append(Speed(at, bps, None, None, "ws://h", "ndt7", "slot", None, None, "line", 1))
    history.present.verdicts.append(Verdict(UPTIME_S - 60, "ok"))
    return history


@pytest.mark.parametrize(
    ("downloads", "slow"),
    [
        ((), False),
        ((FLOOR_BPS / 2,), True),
        ((FLOOR_BPS,), False),
        ((1e6, 1e6, 30e6), True),
        ((1e6, 30e6, 30e6), False),
        ((1e6, 1e6, 1e6, 30e6, 30e6), False),
    ],
)
def test_a_line_is_slow_when_most_of_the_latest_measurements_are_below_the_floor(
    downloads: tuple[float, ...], slow: bool
) -> None:
    seen = view(speeds(*downloads))
    assert (seen.is_slow, seen.tone) == (slow, "moderate" if slow else "good")


def test_checks_count_as_they_answered_and_old_ones_do_not() -> None:
    history = speeds(30e6)
    for place in range(2):
        history.present.checks.append(Check(UPTIME_S - 100 + place, "download", False, 19.9e6, FLOOR_BPS, None))
    history.present.checks.append(Check(UPTIME_S - 90, "upload", False, 1e6, 5e6, None))
    history.present.checks.append(Check(UPTIME_S - 80, "download", None, None, FLOOR_BPS, "timeout"))
    assert view(history).is_slow
    assert not view(history, now_s=NOW_S + 2 * DAY_S, boottime_s=UPTIME_S + 2 * DAY_S).is_slow


def test_without_a_floor_no_line_is_slow() -> None:
    assert not view(speeds(1e3), download_floor_bps=None).is_slow


def test_parts_of_a_day_are_means_and_silence_is_none() -> None:
    seen = view(school_day())
    track = next(one for one in seen.tracks if one.target == "international")
    parts = buckets(track, NOW_S, 96)
    assert len(parts) == 96
    assert parts[(1440 - 940) // 15].rtt_s is None
    assert parts[(1440 - 940) // 15].loss_ratio is None
    assert parts[(1440 - 280) // 15].loss_ratio == 1.0
    assert 0.05 < (parts[-1].rtt_s or 0) < 0.15


def test_layers_come_from_near_to_far() -> None:
    assert [one.layer for one in view(school_day()).tracks] == [
        "gateway", "isp", "dns", "domestic", "international", "collector",
    ]  # fmt: skip


def test_times_are_the_school_s_own() -> None:
    zone = timezone(timedelta(hours=5))
    seen = make_view(school_facts(), school_day(), zone)
    assert seen.local(NOW_S).hour == (NOW.astimezone(UTC).hour + 5) % 24


def test_facts_come_through_json_as_they_were() -> None:
    facts = school_facts(synced=None)
    assert Facts.from_state(facts.state() | {"unknown": 1}) == facts


def test_what_is_not_measured_is_of_no_tone() -> None:
    assert Span(0, 1, None).tone == Span(0, 1, "never heard of").tone == "unknown"
