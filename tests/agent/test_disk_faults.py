"""Disks that fail for real, each in a mount namespace of its own, and files that a bad card has changed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from linkbell_agent.spool_file import SpoolFile, SpoolFileError, StoredRecord
from tests.agent.fakes import ping_record

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount disks")
ROOT = Path(__file__).parents[2]


def on_a_disk(scenario: str, folder: Path, megabytes: int) -> dict[str, Any]:
    """Run a scenario of ``disk_faults`` on an ext4 file system of its own; nothing of it outlives the process."""
    image, mount = folder / "disk.img", folder / "disk"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-m", "0", image], check=True)
    script = 'mount -o loop,errors=remount-ro "$1" "$2" && shift 2 && "$@"; status=$?; umount "$0"; exit $status'
    command = [sys.executable, "-W", "error", "-m", "tests.agent.disk_faults", scenario, str(mount)]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, str(mount), str(image), str(mount), *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@NEEDS_ROOT
def test_a_card_that_turns_read_only_lets_everything_out_once_and_loses_nothing(tmp_path: Path) -> None:
    found = on_a_disk("read_only", tmp_path, 16)
    assert found["flushed"] is False
    assert (found["sent_once"], found["waiting"]) == (181, 0)
    # The newest went first, could not be deleted, and may go again in their turn: the collector has each once.
    assert 181 <= found["sent"] <= 181 + 60
    # What could not be deleted is sent again by the next run, under the same numbers.
    assert found["sent_again_of_those"] > 0
    assert found["new"] == 0


@NEEDS_ROOT
def test_a_disk_that_fills_up_and_is_freed_loses_nothing(tmp_path: Path) -> None:
    found = on_a_disk("full", tmp_path, 4)
    assert (found["flushed"], found["flushed_then"]) == (False, True)
    assert (found["settled"], found["dropped"]) == (900, 0)


@NEEDS_ROOT
def test_an_agent_starts_measures_and_stops_on_a_disk_that_was_read_only_before(tmp_path: Path) -> None:
    configuration = tmp_path / "agent.toml"
    configuration.write_text(
        "default_targets = false\ntargets = [{ name = 'here', layer = 'gateway', host = '127.0.0.1' }]\n"
    )
    (tmp_path / "state").mkdir()
    script = 'mount -t tmpfs -o ro,size=1m none "$0" && exec "$@"'
    command = [sys.executable, "-m", "linkbell_agent", "run", "--show"]
    arguments = ["--state", str(tmp_path / "state"), "--config", str(configuration)]
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script, str(tmp_path / "state"), *command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any(line.startswith("ping   here") for line in lines)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "results stay in memory" in errors
    assert "Traceback" not in errors


@pytest.fixture
def spool_of_400(tmp_path: Path) -> tuple[Path, set[StoredRecord]]:
    """A spool as a kill leaves it: some in the file, some still in its log."""
    live = SpoolFile(tmp_path / "live.db")
    kept: set[StoredRecord] = set()
    for first in range(0, 400, 50):
        records = [
            StoredRecord("s", seq, 0, ping_record().model_copy(update={"seq": seq}).model_dump_json())
            for seq in range(first, first + 50)
        ]
        live.insert(records, keep_at_most=1000)
        if first == 250:
            live._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        kept |= set(records)
    for ending in ("", "-wal"):
        shutil.copy(tmp_path / f"live.db{ending}", tmp_path / f"spool.db{ending}")
    live.close()
    return tmp_path / "spool.db", kept


def spoil(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    what = rng.choice(("bytes", "bytes", "page", "cut", "zeros"))
    place = rng.randrange(len(content))
    if what == "bytes":
        for _ in range(rng.randint(1, 40)):
            content[rng.randrange(len(content))] = rng.randrange(256)
    elif what == "cut":
        del content[place:]
    else:
        page = bytes(4096) if what == "zeros" else rng.randbytes(4096)
        content[place : place + 4096] = page
    path.write_bytes(content)


def read_all(file: SpoolFile) -> list[StoredRecord]:
    """Read and delete until nothing is left, as a drain does. Raises ``SpoolFileError``."""
    found: list[StoredRecord] = []
    while len(file):
        records = file.oldest(60)
        if not records:
            continue
        found += records
        file.pass_over(records[-1].id, len(records))
        file.forget_passed()
    return found


@pytest.mark.parametrize("seed", range(60))
def test_whatever_a_bad_card_does_to_the_files_only_what_was_written_comes_out(
    spool_of_400: tuple[Path, set[StoredRecord]], seed: int
) -> None:
    path, kept = spool_of_400
    rng = random.Random(seed)
    spoil(path if rng.random() < 0.6 else path.with_name("spool.db-wal"), rng)
    file = SpoolFile(path)
    try:
        found = read_all(file)
    except SpoolFileError:
        # Seen only while it was read: opened anew it is set aside, as the spool does.
        found = []
        file.close()
        file = SpoolFile(path)
    without_id = {StoredRecord(record.stream, record.seq, record.worth, record.body) for record in found}
    assert without_id <= kept
    assert len(found) == len(without_id)
    if file.set_aside is None:
        in_log = 100  # a log that was cut or changed loses what was after that, as SQLite promises
        assert len(found) + file.counters.get("dropped", 0) >= 400 - in_log - 50
    file.insert([StoredRecord("new", 0, 0, "{}")], keep_at_most=10)
    assert [record.stream for record in file.oldest(10)] == ["new"]
    file.close()


def test_a_record_changed_on_the_card_is_given_up_and_counted_and_its_neighbours_go_out(tmp_path: Path) -> None:
    file = SpoolFile(tmp_path / "spool.db")
    file.insert([StoredRecord("s", seq, 0, f'{{"seq":{seq}}}') for seq in range(10)], keep_at_most=100)
    file._database.execute("""UPDATE records SET body = '{"seq":4000}' WHERE seq = 4""")
    file._database.execute("UPDATE records SET body = CAST(X'ff80' AS TEXT) WHERE seq = 6")
    assert [record.seq for record in file.oldest(100)] == [0, 1, 2, 3, 5, 7, 8, 9]
    assert (len(file), file.counters["dropped"]) == (8, 2)
    file.close()


def test_a_spool_of_the_format_before_is_taken_over(tmp_path: Path) -> None:
    file = SpoolFile(tmp_path / "spool.db")
    file.insert([StoredRecord("s", 0, 0, "{}")], keep_at_most=10)
    file._database.executescript("ALTER TABLE records DROP COLUMN checksum; DROP TABLE owner; PRAGMA user_version = 1")
    file.close()
    file = SpoolFile(tmp_path / "spool.db")
    assert file.set_aside is None
    file.insert([StoredRecord("s", 1, 0, "{}")], keep_at_most=10)
    assert [record.seq for record in file.oldest(10)] == [0, 1]
    file.close()
