"""Does anything that was kept get lost? ``python -m benchmarks.survival [--kills 200] [--seed N]``.

A real agent reports to a real collector through a gate that lets everything pass, refuses connections, or loses the
replies. Again and again the agent is killed with SIGKILL at a random moment. After each kill it is written down what
lies on its disk and what the collector has; at the end all of that must be at the collector, each record once. What
was in memory only is lost by design: the gaps it leaves are what the collector counts, and the next start says so.
"""

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.run_local import Child, Local, listening_url, output, tool

KILLS = 200
SHORT_KILLS = 5
LAST_LIFE_S = 60.0
TARGETS = 24
SCHOOL = "survival"

Identity = tuple[str, int]
"""Stream and number."""


class Gate:
    """A TCP relay before the collector. ``mode``: ``open``, ``shut``, or ``deaf`` (requests pass, replies are lost)."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.mode = "open"
        self.url = ""

    async def start(self) -> None:
        """Listen on a port of its own."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def set(self, mode: str) -> None:
        """Change the mode; connections of before end."""
        self.mode = mode
        for writer in list(self._open):
            writer.close()

    async def stop(self) -> None:
        """Stop listening."""
        self.set("shut")
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "shut":
            writer.close()
            return
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
            self._open |= {writer, far_writer}
            replies = None if self.mode == "deaf" else writer
            await asyncio.gather(_relay(reader, far_writer), _relay(far_reader, replies, ends=writer))
            self._open -= {writer, far_writer}


async def _relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None, ends: asyncio.StreamWriter | None = None
) -> None:
    """Copy until the end. Without a ``writer`` the first piece ends the connection instead."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            if writer is None:
                break
            writer.write(data)
            await writer.drain()
    for each in (writer, ends):
        if each is not None:
            each.close()


@dataclass
class Findings:
    """What happened, and what is wrong with it (nothing, one hopes)."""

    lives: int = 0
    handed_out: int = 0
    kept: int = 0
    doubled: int = 0
    vanished: list[Identity] = field(default_factory=list)
    gaps: int = 0
    counted: int = 0
    kills: int = 0
    unreported: list[float] = field(default_factory=list)
    still_waiting: int = 0
    lost: int = 0
    untold: int = 0

    def faults(self) -> list[str]:
        """Return each broken promise in a sentence."""
        promises = [
            (not self.vanished, f"{len(self.vanished)} records that were on disk or acknowledged are gone"),
            (not self.doubled, f"{self.doubled} records are at the collector twice"),
            (self.counted == self.gaps, f"the collector counts {self.counted} lost records; the gaps are {self.gaps}"),
            (not self.unreported, f"{len(self.unreported)} of {self.kills} kills were never reported"),
            (not self.untold, f"{self.untold} of {self.lost} lost records were made when no start tells of a gap"),
            (not self.still_waiting, f"{self.still_waiting} records still wait"),
        ]
        return [sentence for holds, sentence in promises if not holds]


class Survival:
    """The whole of it in one folder."""

    def __init__(self, folder: Path, local: Local, collector_url: str, seed: int) -> None:
        self._state = folder / "agent"
        self._database = folder / "collector" / "collector.sqlite3"
        self._scratch = folder / "copy"
        self._local = local
        self._collector_url = collector_url
        self._rng = random.Random(seed)
        self._gate = Gate(int(collector_url.rpartition(":")[2]))
        self._must_be_there: set[Identity] = set()
        self._last_seen: set[float] = set()
        self._lines: list[str] = []
        self.findings = Findings()

    async def run(self, kills: int) -> Findings:
        """Enrol, live and die ``kills`` times, live once more to the end, and compare."""
        await self._gate.start()
        token = json.loads(await output(*self._collector_command("tokens", "create", "--school", SCHOOL, "--json")))
        await output(
            *(*tool("agent"), "enrol", self._gate.url, "--token", "-", "--state", str(self._state)),
            given=token["token"],
        )
        for _ in range(kills):
            await self._live_and_die()
        await self._last_life()
        await self._gate.stop()
        self._compare()
        return self.findings

    def _collector_command(self, *arguments: str) -> tuple[str, ...]:
        return (*tool("collector"), *arguments, "--data", str(self._database.parent))

    async def _start_agent(self) -> tuple[Child, asyncio.Task[None]]:
        configuration = self._state.parent / "agent.toml"
        agent = await self._local.start(
            "agent", *tool("agent"), "run", "--state", str(self._state), "--config", str(configuration), "--json"
        )
        self.findings.lives += 1
        return agent, asyncio.create_task(self._listen(agent))

    async def _listen(self, agent: Child) -> None:
        assert agent.process.stdout is not None
        while line := await agent.process.stdout.readline():
            self._lines.append(line.decode())

    async def _live_and_die(self) -> None:
        self._gate.set(self._rng.choice(("open", "open", "shut", "deaf")))
        agent, listening = await self._start_agent()
        # Most lives end while records are made and sent, some after the spool has been written.
        long = self._rng.random() < 0.3
        await asyncio.sleep(self._rng.uniform(10, 15) if long else self._rng.uniform(0.3, 4))
        agent.process.kill()
        await agent.process.wait()
        await listening
        self._local.children.remove(agent)
        self._must_be_there |= self._on_disk() | self._at_collector()
        with contextlib.suppress(FileNotFoundError):
            # What the next start says of this life. A life too short to write it has made no record either.
            self._last_seen.add(round(json.loads((self._state / "life").read_bytes())["boottime_s"], 1))

    async def _last_life(self) -> None:
        self._gate.set("open")
        agent, listening = await self._start_agent()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_LIFE_S):
                await asyncio.sleep(3)
                while self._on_disk():  # noqa: ASYNC110 - another process sets no event
                    await asyncio.sleep(0.5)
        await agent.stop()
        await listening
        self._local.children.remove(agent)

    def _on_disk(self) -> set[Identity]:
        """Return what waits in the spool, from a copy: reading the file itself would change it."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir()
        for name in ("spool.db", "spool.db-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(self._state / name, self._scratch / name)
        if not (self._scratch / "spool.db").exists():
            return set()
        return _identities(self._scratch / "spool.db", "SELECT stream, seq FROM records")

    def _at_collector(self) -> set[Identity]:
        query = "SELECT streams.stream, seq FROM records JOIN streams ON streams.id = records.stream"
        return _identities(self._database, query)

    def _compare(self) -> None:
        there = self._at_collector()
        self.findings.handed_out = len(self._lines)
        self.findings.kept = len(there)
        self.findings.vanished = sorted(self._must_be_there - there)
        self.findings.still_waiting = len(self._on_disk())
        streams: dict[str, set[int]] = {}
        for stream, seq in there:
            streams.setdefault(stream, set()).add(seq)
        self.findings.gaps = sum(max(seqs) + 1 - len(seqs) for seqs in streams.values())
        self.findings.counted = self._counted_lost()
        bodies = _rows(self._database, "SELECT body FROM records")
        # Two measurements of one target never end in the same millisecond.
        contents = Counter(_content(body) for body in bodies)
        self.findings.doubled = sum(count - 1 for count in contents.values())
        said = {body["details"].get("last_seen_boottime_s") for body in bodies if body.get("event") == "start"}
        self.findings.kills = len(self._last_seen)
        self.findings.unreported = sorted(self._last_seen - said)
        there_too = {_content(body) for body in bodies}
        made = [json.loads(line) for line in self._lines if line.endswith("\n")]
        lost = [body for body in made if _content(body) not in there_too]
        seen = sorted(float(since_s) for since_s in said if since_s is not None)
        self.findings.lost = len(lost)
        self.findings.untold = sum(not any(since_s <= body["boottime_s"] for since_s in seen) for body in lost)

    def _counted_lost(self) -> int:
        with urllib.request.urlopen(f"{self._collector_url}/metrics/schools", timeout=10) as response:
            text = response.read().decode()
        return sum(
            int(float(line.split()[-1]))
            for line in text.splitlines()
            if line.startswith("linkbell_agent_records_lost{")
        )


def _content(body: dict[str, Any]) -> tuple[object, ...]:
    return body["kind"], body.get("target"), body.get("event"), body["boottime_s"], body["seq"]


def _identities(database: Path, query: str) -> set[Identity]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return {(str(stream), int(seq)) for stream, seq in connection.execute(query)}


def _rows(database: Path, query: str) -> list[dict[str, Any]]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return [json.loads(body) for (body,) in connection.execute(query)]


CONFIGURATION = "\n".join(
    [
        "default_targets = false",
        "ping = { interval_s = 10, count = 1 }",
        "report = { interval_s = 1, batch_records = 7 }",
        "spool = { flush_after_s = 1 }",
        "speed = { enabled = false }",
        *(
            f'[[targets]]\nname = "t{number}"\nlayer = "gateway"\nhost = "127.0.0.{number}"'
            for number in range(1, TARGETS + 1)
        ),
    ]
)


@asynccontextmanager
async def prepared(folder: Path, seed: int) -> AsyncIterator[Survival]:
    """Start a collector in ``folder``; everything ends with the block."""
    (folder / "agent.toml").write_text(CONFIGURATION, encoding="utf-8")
    local = Local(folder, 0, 0)
    try:
        collector = await local.start(
            "collector", *tool("collector"), "serve", "--listen", "127.0.0.1:0", "--data", str(folder / "collector")
        )
        yield Survival(folder, local, listening_url(await collector.first_line()), seed)
    finally:
        await local.take_down()


async def survive(folder: Path, kills: int, seed: int) -> Findings:
    """Kill an agent ``kills`` times in ``folder`` and return what became of its records."""
    async with prepared(folder, seed) as survival:
        return await survival.run(kills)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=KILLS, help=f"how often ({KILLS})")
    parser.add_argument("--short", action="store_true", help=f"{SHORT_KILLS} kills")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="to repeat a run")
    arguments = parser.parse_args(argv)
    kills = SHORT_KILLS if arguments.short else arguments.kills
    with tempfile.TemporaryDirectory(prefix="linkbell-survival-") as folder:
        findings = asyncio.run(survive(Path(folder), kills, arguments.seed))
    print(
        f"{kills} kills (seed {arguments.seed}): {findings.handed_out} records made, {findings.kept} at the collector, "
        f"{findings.lost} lost with the memory, {findings.gaps} of them counted as gaps, "
        f"{findings.kills - len(findings.unreported)} of {findings.kills} kills reported"
    )
    for fault in findings.faults():
        print(f"FAULT: {fault}")
    return 1 if findings.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
