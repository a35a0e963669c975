"""The ledger outlives power cuts, damage, a full disk and a second process; it is small."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from linkbell_agent.budget.ledger import Ledger, Reading, charge, learn, mark_day
from linkbell_agent.budget.ledger_file import LEDGER_FILE, LedgerFile
from linkbell_agent.budget.months import Calendar
from linkbell_agent.files import StateError

MONTH = Calendar()
NOW = Reading(datetime(2026, 3, 21, 12, tzinfo=UTC), True, "a", 50.0)


def spend(file: LedgerFile, size: int, uplink: str = "main", reading: Reading = NOW, *, keep: bool = True) -> Ledger:
    return file.update(uplink, reading, MONTH, lambda ledger: charge(ledger, "speed", size), keep=keep)


def test_everything_in_a_ledger_is_read_back(tmp_path: Path) -> None:
    def change(ledger: Ledger) -> Ledger:
        full = mark_day(learn(charge(ledger, "speed", 7), "speed", 7), "check", MONTH.period(NOW.wall))
        return replace(full, unsure={"2026-03": 5}, doubt_since_s=12.5)

    written = LedgerFile(tmp_path).update("main", replace(NOW, trusted=False), MONTH, change)
    assert LedgerFile(tmp_path).read() == {"main": written}


def test_uplinks_have_ledgers_of_their_own(tmp_path: Path) -> None:
    spend(LedgerFile(tmp_path), 5)
    spend(LedgerFile(tmp_path), 9, "backup")
    assert {name: ledger.used["speed"] for name, ledger in LedgerFile(tmp_path).read().items()} == {
        "main": 5,
        "backup": 9,
    }


def test_asking_writes_nothing(tmp_path: Path) -> None:
    spend(LedgerFile(tmp_path), 5)
    before = (tmp_path / LEDGER_FILE).stat().st_ino
    LedgerFile(tmp_path).update("main", replace(NOW, boottime_s=60.0), MONTH)
    assert (tmp_path / LEDGER_FILE).stat().st_ino == before


def test_a_year_of_four_uplinks_fits_into_a_page(tmp_path: Path) -> None:
    file = LedgerFile(tmp_path)
    for month in range(1, 13):
        for uplink in ("main", "backup"):
            for kind in ("speed", "check", "ping", "other"):
                now = replace(NOW, wall=datetime(2026, month, 5, tzinfo=UTC), boot_id=f"{month:036}")
                file.update(uplink, now, MONTH, lambda ledger, kind=kind: charge(ledger, kind, 123_456_789_012))  # type: ignore[misc]
    assert (tmp_path / LEDGER_FILE).stat().st_size <= 4096


def damage(content: bytes) -> list[bytes]:
    flipped = bytearray(content)
    flipped[content.index(b"700")] ^= 1
    other = json.dumps({**json.loads(content), "format": 2}).encode()
    return [b"", content[: len(content) // 2], bytes(flipped), other, b"[]", b"\xff\x00", b'{"format": 1}', b"[" * 5000]


@pytest.mark.parametrize("number", range(8))
def test_a_damaged_ledger_is_set_aside_and_what_its_pace_allowed_counts_as_spent(tmp_path: Path, number: int) -> None:
    spend(LedgerFile(tmp_path), 700)
    path = tmp_path / LEDGER_FILE
    path.write_bytes(damage(path.read_bytes())[number])
    file = LedgerFile(tmp_path)
    ledger = spend(file, 5)
    assert ledger.presumed == {"2026-03": 21 / 31 + 0.1}
    assert file.set_aside == tmp_path / f"{LEDGER_FILE}.damaged-1"
    assert file.set_aside.exists()
    assert spend(LedgerFile(tmp_path), 5, "backup").presumed == {"2026-03": 21 / 31 + 0.1}
    assert LedgerFile(tmp_path).read()["main"].used == {"speed": 5}


def test_a_ledger_set_aside_is_not_taken_for_a_new_box_if_the_power_goes_right_then(tmp_path: Path) -> None:
    (tmp_path / f"{LEDGER_FILE}.damaged-1").write_bytes(b"?")
    assert spend(LedgerFile(tmp_path), 5).presumed == {"2026-03": 21 / 31 + 0.1}


def test_ten_damaged_ledgers_do_not_fill_the_disk(tmp_path: Path) -> None:
    for _ in range(12):
        (tmp_path / LEDGER_FILE).write_bytes(b"?")
        spend(LedgerFile(tmp_path), 5)
    assert len(list(tmp_path.glob("*damaged*"))) == 9


def test_what_the_disk_does_not_take_stays_in_memory_if_it_is_to_be_kept(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    file = LedgerFile(state)
    spend(file, 5)
    content = (state / LEDGER_FILE).read_bytes()
    for name in state.iterdir():
        name.unlink()
    state.rmdir()
    with pytest.raises(StateError):
        spend(file, 100, keep=False)
    with pytest.raises(StateError):
        spend(file, 7)
    with pytest.raises(StateError):
        spend(file, 1000, keep=False)
    state.mkdir()
    (state / LEDGER_FILE).write_bytes(content)
    assert spend(file, 1).used["speed"] == 8
    assert LedgerFile(state).read()["main"].used["speed"] == 8


SPENDER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from linkbell_agent.budget.ledger import Reading, charge
from linkbell_agent.budget.ledger_file import LedgerFile
from linkbell_agent.budget.months import Calendar
now = Reading(datetime(2026, 3, 21, 12, tzinfo=UTC), True, "a", 50.0)
file = LedgerFile(Path(sys.argv[1]))
for done in range(1, int(sys.argv[2]) + 1):
    file.update("main", now, Calendar(), lambda ledger: charge(ledger, "speed", 1))
    print(done, flush=True)
time.sleep(60)
"""


def spender(state: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SPENDER, str(state), str(count)], stdout=subprocess.PIPE, text=True)


def last_line(process: subprocess.Popen[str], count: int) -> int:
    assert process.stdout is not None
    said = 0
    for line in process.stdout:
        said = int(line)
        if said >= count:
            break
    return said


def test_two_processes_spend_from_one_ledger(tmp_path: Path) -> None:
    both = [spender(tmp_path, 30), spender(tmp_path, 30)]
    try:
        assert [last_line(process, 30) for process in both] == [30, 30]
    finally:
        for process in both:
            process.kill()
            process.communicate()
    assert LedgerFile(tmp_path).read()["main"].used["speed"] == 60


def test_a_killed_process_has_spent_all_that_it_said_it_would(tmp_path: Path) -> None:
    process = spender(tmp_path, 10**6)
    try:
        said = last_line(process, 20)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert LedgerFile(tmp_path).read()["main"].used["speed"] >= said == 20
