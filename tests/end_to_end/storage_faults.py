"""Power, storage and clocks that fail under a running agent, each in a school of its own before a real collector.

Every scenario returns in sentences what was not as promised. Rounds come every ten seconds here and are reported every
second, and what waits a second goes to disk: what takes half an hour in a school takes a minute.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tools.run_local import tool

from linkbell_collector.domain import TimeQuality
from tests.agent.layers.faults import line_cut
from tests.end_to_end.ledger import Body, HeldRecord, broken_promises, key, missing
from tests.end_to_end.school_world import Region, RunningAgent, School
from tests.end_to_end.told_agent import Told

TARGETS = 24
TEN_YEARS_S = 3652.5 * 86_400
TIME_ERROR_S = 2.0
PATIENCE_S = 100.0

SETTINGS = "\n".join(
    [
        "default_targets = false",
        "ping = { interval_s = 10, count = 1 }",
        "report = { interval_s = 1 }",
        "spool = { flush_after_s = 1 }",
        "speed = { enabled = false }",
        "page = { enabled = false }",
        *(
            f'[[targets]]\nname = "t{number}"\nlayer = "gateway"\nhost = "127.0.0.{number}"'
            for number in range(1, TARGETS + 1)
        ),
    ]
)

TOLD = (sys.executable, "-m", "tests.end_to_end.told_agent")
ON_TMPFS = 'mount -t tmpfs -o size=1m none "$1" && cp -a "$0/." "$1" && shift 1 && exec "$@"'
ON_EXT4 = 'mount -o loop,errors=remount-ro "$0" "$1" && shift 1 && exec "$@"'


class TroubleError(Exception):
    """A scenario could not come about as planned."""


def until(holds: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Return once ``holds``. Raises :class:`TroubleError`."""
    until_s = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > until_s:
            raise TroubleError(f"never came: {what}")
        time.sleep(0.3)


@contextlib.contextmanager
def _cut(school: School) -> Iterator[None]:
    line_cut(school.world, on=True)
    try:
        yield
    finally:
        line_cut(school.world, on=False)


def _reports(school: School, agent: RunningAgent) -> None:
    """Return once the collector has something of this run: numbers are counted from there."""
    first = key(_first(agent))
    until(lambda: first in {key(one.body) for one in school.held().records}, "the first records of a run")


def _first(agent: RunningAgent) -> Body:
    until(lambda: bool(agent.said), "any record")
    return agent.said[0]


def _delivered(school: School, but: int = 0) -> None:
    """Return once the collector has all but so many."""
    until(lambda: len(school.held().records) >= len(school.said) - but, "the rest of the records")


def _made_since(agent: RunningAgent, count: int, more: int) -> None:
    until(lambda: len(agent.said) >= count + more, f"{more} more records")


def full_disk(school: School) -> list[str]:
    """A disk fills up while the line is cut: memory takes what it can, the rest is dropped, counted and reported."""
    mount = school.folder.with_name(f"{school.folder.name}-mount")
    mount.mkdir()
    places = (str(school.folder), str(mount))
    command = ("unshare", "--mount", "sh", "-c", ON_TMPFS, *places, *TOLD, "--in-ram", "60")
    with school.agent(*command, state=mount) as agent:
        _reports(school, agent)
        inside = Path(f"/proc/{agent.process.pid}/root{mount}")
        with _cut(school):
            time.sleep(2)
            made = len(agent.said)
            _fill(inside)
            _made_since(agent, made, 5 * TARGETS)
        until(lambda: school.held().dropped > 0, "the count of what was dropped")
        _delivered(school, but=school.held().dropped)
        (inside / "filler").unlink()
    held = school.held()
    wrong = broken_promises(school.said, held, explained=held.dropped)
    if not held.dropped:
        wrong.append("nothing was dropped")
    if held.lost or held.gaps != held.dropped:
        wrong.append(f"{held.gaps} numbers are missing, {held.dropped} dropped, {held.lost} counted as lost")
    worthy = [body for body in missing(school.said, held) if body["kind"] in ("event", "verdict")]
    if worthy:
        wrong.append(f"pings are to go before events: {worthy}")
    return wrong


def _fill(folder: Path) -> None:
    descriptor = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        with contextlib.suppress(OSError):
            while True:
                os.write(descriptor, bytes(1024))
    finally:
        os.close(descriptor)


def read_only_disk(school: School) -> list[str]:
    """A card turns read-only while the line is cut, and is repaired after: everything arrives, each once."""
    image, mount = school.folder.with_suffix(".img"), school.folder.with_name(f"{school.folder.name}-mount")
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-m", "0", "-d", str(school.folder), str(image)], check=True)
    command = ("unshare", "--mount", "sh", "-c", ON_EXT4, str(image), str(mount), *tool("agent"), "run", "--json")
    with school.agent(*command, state=mount) as agent:
        _reports(school, agent)
        with _cut(school):
            made = len(agent.said)
            _made_since(agent, made, 2 * TARGETS)
            _turn_read_only(agent, mount)
            _made_since(agent, len(agent.said), 2 * TARGETS)
        _delivered(school)
    subprocess.run(["/sbin/e2fsck", "-fy", str(image)], check=False, capture_output=True)
    with school.agent(*command, state=mount) as agent:
        _reports(school, agent)
        _delivered(school)
    held = school.held()
    wrong = broken_promises(school.said, held)
    if held.lost or held.dropped:
        wrong.append(f"{held.lost} are counted as lost, {held.dropped} as dropped")
    if len(held.events("start")) != 2:
        wrong.append("not both starts are there")
    return wrong


def _turn_read_only(agent: RunningAgent, mount: Path) -> None:
    """Make ext4 believe it has met a bad sector."""
    mounts = Path(f"/proc/{agent.process.pid}/mounts").read_text(encoding="utf-8").splitlines()
    device = next(line.split()[0] for line in mounts if line.split()[1] == str(mount))
    Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("1", encoding="ascii")


def spool_spoiled_while_off(school: School) -> list[str]:
    """The power goes during an outage and the card loses a page: the file is set aside, the collector told of it."""
    with school.agent() as agent:
        _reports(school, agent)
        with _cut(school):
            made = len(agent.said)
            _made_since(agent, made, 4 * TARGETS)
            until(lambda: (school.folder / "spool.db-wal").stat().st_size > 0, "records on disk")
            time.sleep(1)
            agent.kill()
    _spoil(school.folder / "spool.db")
    with school.agent() as agent:
        _reports(school, agent)
        until(lambda: bool(school.held().events("spool_set_aside")), "the event of the spool that was set aside")
        _made_since(agent, len(agent.said), TARGETS)
        _delivered(school, but=len(missing(school.runs[0].said, school.held())))
    held = school.held()
    gone = missing(school.said, held)
    wrong = broken_promises(school.said, held, explained=len(gone))
    wrong += _not_reported(gone, held.events("start"))
    aside = held.events("spool_set_aside")[0].body["details"]
    if not (school.folder / str(aside["file"])).exists():
        wrong.append(f"the file that was set aside is not where the event says: {aside}")
    if not gone:
        wrong.append("nothing was lost, so that this says nothing")
    return wrong


def _spoil(path: Path) -> None:
    """Write the log into the file as SQLite does at a start, then spoil a page of it."""
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sqlite3,sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA wal_checkpoint')",
            path,
        ],
        check=True,
    )
    content = bytearray(path.read_bytes())
    page = random.Random(4).randbytes(4096)
    content[8192 : 8192 + 4096] = page
    path.write_bytes(content)
    for companion in ("-wal", "-shm"):
        path.with_name(path.name + companion).unlink(missing_ok=True)


def _not_reported(gone: Sequence[Body], starts: Sequence[HeldRecord]) -> list[str]:
    """Return whose loss no start tells of: those that were not made after a run was last seen, which then died."""
    told = [start.body["details"] for start in starts if start.body["details"].get("unclean")]
    silent = [one for one in gone if not any(_is_after(one, details) for details in told)]
    return [f"{len(silent)} records are gone and no start tells of it, such as {silent[:1]}"] if silent else []


def _is_after(record: Body, last_seen: Body) -> bool:
    """Compare by the boot-time clock; the one of another boot begins anew."""
    return bool(0 <= record["boottime_s"] - last_seen["last_seen_boottime_s"] < 600)


def spool_spoiled_while_running(school: School) -> list[str]:
    """A card loses pages under a running agent: it and the next run go on, and numbers that are missing are counted.

    A spool this small is still in SQLite's own memory, and arrives; the file is found out at the next start.
    """
    with school.agent() as agent:
        _reports(school, agent)
        with _cut(school):
            _made_since(agent, len(agent.said), 3 * TARGETS)
            time.sleep(11)
            agent.process.send_signal(signal.SIGSTOP)
            _spoil_all(school.folder)
            agent.process.send_signal(signal.SIGCONT)
        until(lambda: _is_told(school), "the rest of the records, or word of the spool")
    with school.agent() as agent:
        _reports(school, agent)
        until(lambda: _is_told(school), "the rest of the records, or word of the spool")
    held = school.held()
    wrong = broken_promises(school.said, held, explained=held.lost + held.dropped)
    if held.lost + held.dropped != held.gaps:
        wrong.append(f"{held.gaps} numbers are missing, {held.lost} counted as lost, {held.dropped} as dropped")
    if not held.events("spool_set_aside"):
        wrong.append("nobody found out that the spool is damaged")
    return wrong


def _is_told(school: School) -> bool:
    held = school.held()
    return len(held.records) >= len(school.said) - held.gaps and (not held.gaps or bool(held.events("spool_set_aside")))


def _spoil_all(folder: Path) -> None:
    for name in ("spool.db", "spool.db-wal"):
        path = folder / name
        with path.open("r+b") as file:
            for place in range(4096 if name == "spool.db" else 0, path.stat().st_size, 4096):
                file.seek(place)
                file.write(b"\xff" * 2048)


def clocks(school: School) -> list[str]:
    """The clock jumps ten years ahead and twenty back, while running, across a restart, and across power cuts."""
    told = school.folder.with_suffix(".clock")
    command = (*TOLD, "--clock", str(told))
    Told().write(told)
    with school.agent(*command) as agent:
        _reports(school, agent)
        Told(TEN_YEARS_S, synced=False).write(told)
        until(lambda: _steps(agent) == 1, "the event of the first step")
        _made_since(agent, len(agent.said), TARGETS)
        Told(-TEN_YEARS_S, synced=False).write(told)
        until(lambda: _steps(agent) == 2, "the event of the second step")
        _made_since(agent, len(agent.said), TARGETS)
        _delivered(school)
    with school.agent(*command) as agent:
        _reports(school, agent)
        _cut_power(school, agent)
    second = Told(-TEN_YEARS_S, "boot-2", time.clock_gettime(time.CLOCK_BOOTTIME) - 5, synced=False)
    second.write(told)
    with school.agent(*command) as agent:
        _reports(school, agent)
        _cut_power(school, agent)
    Told(0.0, "boot-3", time.clock_gettime(time.CLOCK_BOOTTIME) - 5, synced=True).write(told)
    with school.agent(*command) as agent:
        _reports(school, agent)
        _made_since(agent, len(agent.said), TARGETS)
        until(lambda: not _waits(school), "the end of the history")
    return _judge_clocks(school)


def _cut_power(school: School, agent: RunningAgent) -> None:
    """Cut the line, have some records go to disk, and kill."""
    with _cut(school):
        _made_since(agent, len(agent.said), 2 * TARGETS)
        time.sleep(11)
        agent.kill()


def _steps(agent: RunningAgent) -> int:
    return sum(body.get("event") == "clock_stepped" for body in agent.said)


def _waits(school: School) -> bool:
    """Say whether something can still come: of the present run, or from disk."""
    held = school.held()
    there = {key(one.body) for one in held.records}
    return held.waiting > 0 or any(key(body) not in there for body in school.runs[-1].said)


def _judge_clocks(school: School) -> list[str]:
    held = school.held()
    gone = missing(school.said, held)
    wrong = broken_promises(school.said, held, explained=len(gone))
    wrong += _not_reported(gone, held.events("start"))
    since_1970_s = time.time() - time.monotonic()
    true_s = {key(record): at_s + since_1970_s for run in school.runs for at_s, record in run.heard}
    seen: dict[tuple[str, str], int] = {}
    for one in held.records:
        error_s = one.at_s - true_s[key(one.body)]
        seen[one.body["boot_id"], one.clock.name] = seen.get((one.body["boot_id"], one.clock.name), 0) + 1
        if one.clock is TimeQuality.UNSYNCED:
            # Only of the boot that never knew the time, and with the box's own clock.
            if one.body["boot_id"] != "boot-2" or abs(error_s + TEN_YEARS_S) > TIME_ERROR_S:
                wrong.append(f"{one.body['kind']} of {one.body['boot_id']} is unsynced and {error_s:+.1f} s wrong")
        elif abs(error_s) > TIME_ERROR_S:
            wrong.append(f"{one.body['kind']} of {one.body['boot_id']} is {error_s:+.1f} s wrong ({one.clock.name})")
    expected = {("boot-1", "REDATED"), ("boot-1", "SYNCED"), ("boot-2", "REDATED"), ("boot-2", "UNSYNCED")}
    if not expected <= set(seen):
        wrong.append(f"the marks are {seen}")
    steps = [event.body["details"]["offset_s"] for event in held.events("clock_stepped")]
    if [round(step / TEN_YEARS_S) for step in steps] != [1, -2]:
        wrong.append(f"the steps that were told are {steps}")
    return wrong[:10]


Scenario = Callable[[School], list[str]]

SCENARIOS: dict[str, Scenario] = {
    "the disk is full": full_disk,
    "the disk turns read-only": read_only_disk,
    "the spool is spoiled while the box is off": spool_spoiled_while_off,
    "the spool is spoiled under a running agent": spool_spoiled_while_running,
    "the clock jumps by ten years": clocks,
}


def run_scenario(region: Region, number: int, scenario: Scenario) -> list[str]:
    """Run one at the place ``number``; return what was not as promised."""
    with region.school(number, configuration=SETTINGS) as school:
        try:
            return scenario(school)
        except TroubleError as error:
            return [str(error), *_last_words(school.folder)]


def _last_words(state: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return state.with_suffix(".log").read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
    return []
