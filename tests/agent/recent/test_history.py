"""The history tells the truth about a box whose clock was wrong, whose power went, and whose file is damaged."""

import json
import logging
import os
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from linkbell_agent.recent.history import History
from linkbell_agent.recent.intake import Intake
from linkbell_agent.recent.keeping import HISTORY_FILE, HistoryKeeper, load_history
from linkbell_agent.recent.stretch import KINDS, MAX_TRACKS, Event, Stretch, Verdict
from linkbell_wire.records import PingRecord, VerdictRecord
from linkbell_wire.words import Layer, PingMethod, VerdictState
from tests.agent.page.school_day import BOOT, NOW, UPTIME_S, school_day

OTHER_BOOT = "99999999-2222-3333-4444-555555555555"
NOW_S = NOW.timestamp()


def ping(at: datetime, boottime_s: float, boot: str = BOOT, target: str = "gateway", rtt_s: float = 0.01) -> PingRecord:
    return PingRecord(
        seq=0,
        uplink="main",
        at=at,
        boot_id=boot,
        boottime_s=boottime_s,
        target=target,
        layer=Layer.GATEWAY,
        host="192.0.2.1",
        method=PingMethod.ICMP,
        sent=1,
        received=1,
        rtt_min_s=rtt_s,
        rtt_mean_s=rtt_s,
        rtt_p95_s=rtt_s,
        rtt_max_s=rtt_s,
    )


def known_minutes(found: Stretch) -> list[int]:
    return [minute for track in found.tracks.values() for minute, _ in track.minutes.known()]


def test_what_was_measured_before_the_clock_was_set_is_shown_at_its_true_time() -> None:
    intake = Intake(History(BOOT))
    intake.add(ping(datetime(1970, 1, 1, 0, 10, tzinfo=UTC), 600.0))
    intake.add(ping(NOW, 1200.0))
    found = intake.history.dated(NOW_S, 1200.0)
    assert known_minutes(found) == [int(NOW_S - 600) // 60, int(NOW_S) // 60]


def test_a_box_that_woke_up_in_1970_keeps_its_past_and_shows_it_once_the_clock_is_set() -> None:
    past = Intake(History(OTHER_BOOT))
    past.add(ping(NOW - timedelta(hours=2), 5000.0, OTHER_BOOT))
    history = History.from_state(past.history.state(), BOOT)
    Intake(history).add(ping(datetime(1970, 1, 1, 0, 1, tzinfo=UTC), 60.0))
    assert len(known_minutes(history.dated(60.0, 60.0))) == 1
    assert known_minutes(history.dated(NOW_S, 60.0)) == [int(NOW_S - 7200) // 60, int(NOW_S) // 60]


def test_the_same_boot_goes_on_after_a_restart_and_another_boot_s_present_is_past() -> None:
    history = school_day()
    again = History.from_state(json.loads(json.dumps(history.state())), BOOT)
    assert again.state() == history.state()
    assert again.last_verdict() == history.last_verdict() != None  # noqa: E711
    other = History.from_state(history.state(), OTHER_BOOT)
    assert other.last_verdict() is None
    assert other.evidence == []
    before, after = history.dated(NOW_S, UPTIME_S), other.dated(NOW_S, 5.0)
    assert known_minutes(after) == known_minutes(before)
    for name in KINDS:
        times = [[entry.at for entry in getattr(found, name)] for found in (before, after)]
        assert times[1] == pytest.approx(times[0], abs=0.01)


def test_records_of_another_boot_are_passed_over() -> None:
    intake = Intake(History(BOOT))
    intake.add(ping(NOW, 10.0, OTHER_BOOT))
    assert intake.history.present.tracks == {}


def test_the_verdict_of_before_a_restart_is_not_in_force() -> None:
    history = History(BOOT)
    history.present.verdicts.append(Verdict(10.0, "isp_down"))
    assert history.last_verdict() == Verdict(10.0, "isp_down")
    history.present.events.append(Event(20.0, "start"))
    assert history.last_verdict() is None
    history.present.verdicts.append(Verdict(21.0, "ok"))
    assert history.last_verdict() == Verdict(21.0, "ok")


def test_everything_is_bounded_and_the_target_silent_longest_goes_first() -> None:
    intake = Intake(History(BOOT))
    for number in range(MAX_TRACKS + 10):
        intake.add(ping(NOW, 60.0 * number, target=f"t{number}"))
    names = [name for _, name in intake.history.present.tracks]
    assert len(names) == MAX_TRACKS
    assert "t0" not in names
    assert f"t{MAX_TRACKS + 9}" in names
    for number in range(5000):
        intake.add(
            VerdictRecord(seq=0, uplink="main", at=NOW, boot_id=BOOT, boottime_s=float(number), verdict=VerdictState.OK)
        )
    assert len(intake.history.present.verdicts) == KINDS["verdicts"][1]


def test_a_day_of_six_targets_is_a_file_of_less_than_forty_kilobytes() -> None:
    assert 5_000 < len(school_day().packed()) < 40_000


async def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    history = school_day()
    assert await HistoryKeeper(history, tmp_path).save()
    assert (tmp_path / HISTORY_FILE).stat().st_mode & 0o777 == 0o600
    assert load_history(tmp_path, BOOT).state() == history.state()


DAMAGES = {
    "empty": b"",
    "noise": os.urandom(500),
    "not json": zlib.compress(b"hello"),
    "a list": zlib.compress(b"[1]"),
    "another version": zlib.compress(b'{"format": 99}'),
    "half": school_day().packed()[:9000],
    "a bomb": zlib.compress(b" " * 50_000_000),
    "deep": zlib.compress(b"[" * 200_000),
    "wrong minutes": zlib.compress(
        json.dumps(school_day().state()).replace('"newest": ', '"newest": "x", "old": ').encode()
    ),
    "no times": zlib.compress(
        json.dumps(school_day().state()).replace('"verdicts": [[', '"verdicts": [[null, ').encode()
    ),
}


@pytest.mark.parametrize("content", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_dropped_and_said(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / HISTORY_FILE).write_bytes(content)
    history = load_history(tmp_path, BOOT)
    assert history.state() == History(BOOT).state()
    assert "begin anew" in caplog.text


def test_no_file_is_an_empty_history_and_nothing_to_say(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_history(tmp_path, BOOT).state() == History(BOOT).state()
    assert caplog.text == ""


async def test_a_disk_that_takes_nothing_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keeper = HistoryKeeper(school_day(), tmp_path / "gone")
    with caplog.at_level(logging.WARNING):
        assert not await keeper.save()
        assert not await keeper.save()
    assert caplog.text.count("cannot be kept") == 1
