"""Schools with a real agent each, their providers, and beyond them a real collector and its measurement server.

The networks are those of :mod:`tests.agent.layers.world`; what runs in them here is what is installed.
"""

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.run_local import tool

from linkbell_collector.clock import SystemClock
from linkbell_collector.commands.common import with_store
from linkbell_collector.domain import Token
from linkbell_collector.secret import digest, new_id, new_token
from linkbell_collector.settings import Settings
from linkbell_collector.store.interface import Store
from tests.agent.layers import world as layers_world
from tests.agent.layers.world import COLLECTOR, DOMESTIC, Place, World, serve
from tests.end_to_end.ledger import Body, Held, held_by
from tests.linkbed import bed
from tests.linkbed.lines import Line
from tests.linkbed.namespaces import REPOSITORY, Namespace

COLLECTOR_URL = "http://collector.example.kz:8470"
MEASURE_URL = "ws://collector.example.kz:8471"
MOST_SCHOOLS = 32
TOKEN_LIFE_US = 3_600_000_000

SETTINGS = f"""
targets = [{{ name = "exchange", layer = "domestic", host = "{DOMESTIC}" }}]
platforms = [
  {{ name = "platform", url = "http://platform.example.kz/" }},
  {{ name = "lessons", url = "http://lessons.example.kz/" }},
]
[layers]
portal_url = "http://check.example.org/generate_204"
"""
"""Beside these an agent has its defaults: a round a minute, ten packets a target."""


def why_not() -> str | None:
    """Return why this machine cannot make this world, ``None`` if it can."""
    return layers_world.why_not() or bed.why_not()


class RunningAgent:
    """An agent's process. What it prints is read as it comes: each record with the moment on CLOCK_MONOTONIC."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._heard: list[tuple[float, Body]] = []
        self._news = threading.Condition()
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=REPOSITORY
            )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.endswith("\n"):
                break  # killed in the middle of a word
            with self._news:
                self._heard.append((time.monotonic(), json.loads(line)))
                self._news.notify_all()

    @property
    def said(self) -> list[Body]:
        """The records so far."""
        with self._news:
            return [record for _, record in self._heard]

    @property
    def heard(self) -> list[tuple[float, Body]]:
        """The records so far, each with its moment."""
        with self._news:
            return list(self._heard)

    def since(self, from_s: float, kind: str) -> list[tuple[float, Body]]:
        """Return the records of a kind that came after ``from_s``, each with its moment."""
        with self._news:
            return [(at_s, record) for at_s, record in self._heard if at_s >= from_s and record["kind"] == kind]

    def wait_for(self, wanted: Callable[[Body], bool], timeout_s: float, from_s: float = 0.0) -> float | None:
        """Return when the first record since ``from_s`` came that is ``wanted``; None if none did in time."""
        until_s = time.monotonic() + timeout_s
        with self._news:
            looked_at = 0
            while True:
                for at_s, record in self._heard[looked_at:]:
                    if at_s >= from_s and wanted(record):
                        return at_s
                looked_at = len(self._heard)
                left_s = until_s - time.monotonic()
                if left_s <= 0 or (self.process.poll() is not None and not self._reader.is_alive()):
                    return None
                self._news.wait(min(left_s, 1.0))

    def kill(self) -> None:
        """Cut its power."""
        self.process.kill()
        self._end()

    def stop(self) -> int:
        """Have it end in good order, if it has not ended; return its status."""
        self.process.terminate()
        return self._end()

    def _end(self) -> int:
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join()
            assert self.process.stdout is not None
            self.process.stdout.close()


@dataclass
class Collector:
    """A collector in a namespace, which can be killed and started again on the same data."""

    inside: Namespace
    data: Path
    _process: "subprocess.Popen[str] | None" = None

    def start(self) -> None:
        command = (*tool("collector"), "serve", "--data", str(self.data), "--measurement-url", MEASURE_URL)
        with self.data.with_suffix(".log").open("ab") as errors:
            self._process = subprocess.Popen(
                self.inside.inside(*command, "--listen", f"{COLLECTOR}:8470"),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=REPOSITORY,
            )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith("listening on"), "the collector did not start"

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._reap()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._reap()

    def _reap(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        assert process.stdout is not None
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@dataclass
class School:
    """One school with its networks, its box's state folder, and who it is to the collector."""

    world: World
    collector: Collector
    folder: Path
    agent_id: str
    settings: Sequence[str] = ()
    runs: list[RunningAgent] = field(default_factory=list)

    @contextlib.contextmanager
    def agent(self, *command: str, state: Path | None = None) -> Iterator[RunningAgent]:
        """Run the installed agent in the box, or ``command`` in its place; on ``state``, or the box's own folder."""
        started = command or (*tool("agent"), "run", "--json")
        options = [word for setting in self.settings for word in ("--set", setting)]
        files = ("--state", str(state or self.folder), "--config", str(self.configuration))
        made = RunningAgent(self.world.box.inside(*started, *files, *options), self.folder.with_suffix(".log"))
        self.runs.append(made)
        try:
            yield made
        finally:
            made.stop()

    @property
    def configuration(self) -> Path:
        return self.folder.with_suffix(".toml")

    def held(self) -> Held:
        """Return what the collector has of this school."""
        return held_by(self.collector.data, self.agent_id)

    @property
    def said(self) -> list[Body]:
        """All records of all runs."""
        return [record for run in self.runs for record in run.said]


@dataclass
class Region:
    """The world beyond the providers, and the collector in it."""

    folder: Path
    far: Namespace
    collector: Collector
    tokens: Mapping[str, str]
    """Of each school that may be made."""
    starting: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(2))
    """Schools that are made at once: more only get in each other's way."""

    @contextlib.contextmanager
    def school(
        self, number: int, line: Line | None = None, settings: Sequence[str] = (), configuration: str = SETTINGS
    ) -> Iterator[School]:
        """Make a school, and enrol its box. ``number`` is its place."""
        with contextlib.ExitStack() as stack:
            with self.starting:
                made = stack.enter_context(
                    layers_world.school(self.folder, self.far, Place(number), line, own_names=True)
                )
                state = self.folder / f"box-{number}"
                state.with_suffix(".toml").write_text(configuration, encoding="utf-8")
                agent = enrol(made.box, COLLECTOR_URL, state, self.tokens[f"school-{number}"])
            yield School(made, self.collector, state, agent, settings)


def enrol(box: Namespace, url: str, state: Path, token: str) -> str:
    """Enrol the box; return the agent's id."""
    enrolled = box.run(*tool("agent"), "enrol", url, "--token", token, "--state", str(state), "--json")
    return str(json.loads(enrolled)["agent"])


def make_tokens(data: Path, schools: Sequence[str]) -> dict[str, str]:
    """Do as ``tokens create --school`` does for each, in one process instead of one for each."""
    secrets, now_us = {school: new_token() for school in schools}, SystemClock().now_us()

    async def work(store: Store) -> None:
        for school, secret in secrets.items():
            token = Token(new_id("token"), school, None, 1, 0, now_us + TOKEN_LIFE_US, now_us)
            await store.add_token(token, digest(secret))

    with_store(Settings(data=data), work)
    return secrets


@contextlib.contextmanager
def region(folder: Path) -> Iterator[Region]:
    """Make the world, with a collector and a measurement server that listen."""
    folder.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        far = stack.enter_context(layers_world.outside())
        manners = folder / "manners"
        manners.write_text("{}", encoding="utf-8")
        collector = Collector(far, folder / "collector")
        stack.callback(collector.stop)
        collector.start()
        measure = [*tool("collector"), "measure", "--listen", f"{COLLECTOR}:8471"]
        stack.enter_context(far.service(measure, "listening on", quiet=True))
        stack.enter_context(far.service(serve(manners, "pages"), "ready"))
        yield Region(folder, far, collector, make_tokens(collector.data, [f"school-{n}" for n in range(MOST_SCHOOLS)]))


def is_verdict(state: str) -> Callable[[dict[str, Any]], bool]:
    """Return what knows the record of that verdict."""
    return lambda record: record["kind"] == "verdict" and record["verdict"] == state
