"""Who may import what, and where the clock and the environment are read: the rules that keep the rooms apart."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("wire/linkbell_wire", "agent/linkbell_agent", "collector/linkbell_collector")


@dataclass(frozen=True)
class Module:
    """A module as the rules see it."""

    name: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]

    @property
    def last(self) -> str:
        return self.name.rpartition(".")[2]


def modules() -> Iterator[Module]:
    for package in PACKAGES:
        folder = ROOT / package
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder.parent).with_suffix("").parts
            name = ".".join(part for part in parts if part != "__init__")
            yield Module(name, ast.parse(file.read_text(encoding="utf-8"), str(file)))


MODULES = list(modules())


def sample(name: str, source: str) -> Module:
    return Module(name, ast.parse(source))


# --- reading


def imported(module: Module) -> set[str]:
    """Return all that a module imports, anywhere in it, as dotted names: ``a`` and ``a.b`` of ``from a import b``."""
    names: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def within(names: set[str], roots: frozenset[str]) -> list[str]:
    """Return those of ``names`` that are one of ``roots`` or lie in it."""
    return sorted(name for name in names if any(name == root or name.startswith(f"{root}.") for root in roots))


def aliases(module: Module) -> dict[str, str]:
    """Return what each imported name stands for: of ``import time as t``, ``t`` for ``time``."""
    found: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                found[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def used(module: Module) -> set[str]:
    """Return the dotted names a module uses, by the names they were imported from: ``t.time`` as ``time.time``."""
    stands_for = aliases(module)
    names = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name | ast.Attribute):
            first, _, rest = ast.unparse(node).partition(".")
            if first in stands_for:
                names.add(f"{stands_for[first]}.{rest}" if rest else stands_for[first])
    return names


# --- the rules: each returns what is wrong

STRANGERS = {
    "linkbell_wire": frozenset({"linkbell_agent", "linkbell_collector"}),
    "linkbell_agent": frozenset({"linkbell_collector"}),
    "linkbell_collector": frozenset({"linkbell_agent"}),
}


def imports_of_strangers(module: Module) -> list[str]:
    """The agent and the collector meet on the wire only, and the wire knows neither."""
    return within(imported(module), STRANGERS[module.package])


DOING = frozenset(
    {
        *("asyncio", "threading", "multiprocessing", "subprocess", "concurrent", "selectors", "signal"),
        *("socket", "ssl", "http", "urllib.request", "aiohttp", "uvloop", "icmplib"),
        *("sqlite3", "sqlalchemy", "alembic", "aiosqlite", "asyncpg"),
    }
)
OUTSIDE = DOING | {"time", "os", "pathlib", "io", "logging", "random", "secrets"}


def doings_of_the_wire(module: Module) -> list[str]:
    """The wire is models: it does nothing, and knows neither files nor the time."""
    return within(imported(module), OUTSIDE) if module.package == "linkbell_wire" else []


PURE = {
    "linkbell_agent.costs",
    "linkbell_agent.budget.account",
    "linkbell_agent.budget.cost",
    "linkbell_agent.budget.decide",
    "linkbell_agent.budget.ledger",
    "linkbell_agent.budget.months",
    "linkbell_agent.budget.planned",
    "linkbell_agent.budget.policy",
    "linkbell_agent.budget.profiles",
    "linkbell_agent.courtesy.rule",
    "linkbell_agent.describe",
    "linkbell_agent.layers.hop",
    "linkbell_agent.layers.judge",
    "linkbell_agent.layers.quality",
    "linkbell_agent.layers.states",
    "linkbell_agent.layers.verdict",
    "linkbell_agent.language.quantities",
    "linkbell_agent.language.terms",
    "linkbell_agent.page.charts",
    "linkbell_agent.page.frame",
    "linkbell_agent.page.guard",
    "linkbell_agent.page.listen",
    "linkbell_agent.page.markup",
    "linkbell_agent.page.overview",
    "linkbell_agent.page.provider",
    "linkbell_agent.page.status_json",
    "linkbell_agent.page.view",
    "linkbell_agent.recent.history",
    "linkbell_agent.recent.intake",
    "linkbell_agent.recent.minutes",
    "linkbell_agent.recent.stretch",
    "linkbell_agent.status.screen",
    "linkbell_agent.ndt7.plateau",
    "linkbell_agent.ndt7.rules",
    "linkbell_agent.past_boots",
    "linkbell_agent.permit",
    "linkbell_agent.plan",
    "linkbell_agent.probes.dns_message",
    "linkbell_agent.probes.pages",
    "linkbell_agent.retry",
    "linkbell_agent.round_trips",
    "linkbell_agent.schedule",
    "linkbell_agent.schedule.calendar",
    "linkbell_agent.schedule.done",
    "linkbell_agent.schedule.draw",
    "linkbell_agent.schedule.outcome",
    "linkbell_agent.schedule.slots",
    "linkbell_agent.turns",
    "linkbell_agent.ndt7.held_back",
    "linkbell_agent.watch.conclude",
    "linkbell_agent.watch.latency",
    "linkbell_agent.watch.limits",
    "linkbell_agent.watch.pace",
    "linkbell_agent.watch.traffic",
    "linkbell_collector.agent_configuration",
    "linkbell_collector.domain",
    "linkbell_collector.enrolment",
    "linkbell_collector.exposition",
    "linkbell_collector.importing.columns",
    "linkbell_collector.importing.compare",
    "linkbell_collector.importing.drafts",
    "linkbell_collector.importing.places",
    "linkbell_collector.importing.table",
    "linkbell_collector.importing.text",
    "linkbell_collector.ingest.batches",
    "linkbell_collector.lifetimes",
    "linkbell_collector.loss",
    "linkbell_collector.profile",
    "linkbell_collector.redate",
    "linkbell_collector.store.book",
    "linkbell_collector.store.retention",
    "linkbell_collector.store.rollups",
    "linkbell_collector.store.settled",
    "linkbell_collector.resolution",
    "linkbell_collector.simulate.agent",
    "linkbell_collector.simulate.background",
    "linkbell_collector.simulate.boot",
    "linkbell_collector.simulate.display",
    "linkbell_collector.simulate.faults",
    "linkbell_collector.simulate.fleet",
    "linkbell_collector.simulate.line",
    "linkbell_collector.simulate.names",
    "linkbell_collector.simulate.noise",
    "linkbell_collector.simulate.plan",
    "linkbell_collector.simulate.rare",
    "linkbell_collector.simulate.records",
    "linkbell_collector.simulate.replies",
    "linkbell_collector.simulate.rounds",
    "linkbell_collector.simulate.saving",
    "linkbell_collector.simulate.scenario",
    "linkbell_collector.simulate.spool",
    "linkbell_collector.simulate.technologies",
    "linkbell_collector.simulate.timeline",
    "linkbell_collector.simulate.truth",
}
"""Modules that decide. Add to them."""


def doings_of_the_pure(module: Module) -> list[str]:
    """What decides does nothing."""
    return within(imported(module), DOING) if module.name in PURE else []


CONCRETE = frozenset(
    {
        "linkbell_agent.clock.SystemClock",
        "linkbell_agent.collector_api.HttpCollectorApi",
        "linkbell_agent.probes.dns.dns",
        "linkbell_agent.probes.http.http",
        "linkbell_agent.probes.ping.ping",
        "linkbell_agent.probes.speed.speed",
        "linkbell_agent.spool_file.SpoolFile",
        "linkbell_collector.store.postgresql.PostgresStore",
        "linkbell_collector.store.sqlite.SqliteStore",
        "linkbell_collector.store.sqlite_connection.Database",
    }
)
"""What stands behind an interface, and may be replaced."""


def namings_of_the_concrete(module: Module) -> list[str]:
    """Only ``app.py`` of each package, and the room a class lives in, name a concrete class."""
    if module.last == "app":
        return []
    foreign = {name for name in CONCRETE if name.rpartition(".")[0].rpartition(".")[0] != room(module)}
    # "import a.b" and then a.b.C is naming C too.
    return sorted(foreign & (imported(module) | used(module)))


def room(module: Module) -> str:
    """Return the folder of a module, where it is one below its package."""
    folder = module.name.rpartition(".")[0]
    return folder if "." in folder else ""


WALL_CLOCK = frozenset(
    {
        *("time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.CLOCK_REALTIME"),
        *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"),
    }
)


def readings_of_the_wall_clock(module: Module) -> list[str]:
    """The wall clock is read in ``clock.py`` of each package; everything else is told the time."""
    return [] if module.name == f"{module.package}.clock" else sorted(used(module) & WALL_CLOCK)


ENVIRONMENT = frozenset({"os.environ", "os.environb", "os.getenv", "os.putenv"})


def readings_of_the_environment(module: Module) -> list[str]:
    """The environment is read in ``settings.py``; ``commands.common`` of the collector hands it on to that unread."""
    if module.last == "settings" or module.name == "linkbell_collector.commands.common":
        return []
    return within(used(module), ENVIRONMENT)


RULES: list[Callable[[Module], list[str]]] = [
    imports_of_strangers,
    doings_of_the_wire,
    doings_of_the_pure,
    namings_of_the_concrete,
    readings_of_the_wall_clock,
    readings_of_the_environment,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_there_are_no(rule: Callable[[Module], list[str]]) -> None:
    broken = {module.name: found for module in MODULES if (found := rule(module))}
    assert broken == {}, rule.__doc__


def test_every_pure_module_and_every_concrete_class_there_is_a_rule_for_exists() -> None:
    names = {module.name for module in MODULES}
    assert names >= PURE
    assert names >= {name.rpartition(".")[0] for name in CONCRETE}
    for package in PACKAGES:
        assert len([name for name in names if name.startswith(package.partition("/")[2])]) > 5


# --- each rule can be broken


@pytest.mark.parametrize(
    ("rule", "name", "source", "found"),
    [
        (imports_of_strangers, "linkbell_agent.x", "import linkbell_collector.live", ["linkbell_collector.live"]),
        (imports_of_strangers, "linkbell_collector.x", "def f():\n  from linkbell_agent import net", 2),
        (imports_of_strangers, "linkbell_wire.x", "from linkbell_agent import net", 2),
        (imports_of_strangers, "linkbell_agent.x", "from linkbell_wire import Batch", []),
        (imports_of_strangers, "linkbell_agent.x", "import linkbell_collectors", []),
        (doings_of_the_wire, "linkbell_wire.x", "import asyncio.subprocess", ["asyncio.subprocess"]),
        (doings_of_the_wire, "linkbell_wire.x", "from time import monotonic", 2),
        (doings_of_the_wire, "linkbell_wire.x", "from datetime import datetime", []),
        (doings_of_the_pure, "linkbell_agent.schedule", "import sqlite3", ["sqlite3"]),
        (doings_of_the_pure, "linkbell_agent.schedule", "if True:\n  from aiohttp import web", 2),
        (doings_of_the_pure, "linkbell_agent.sender", "import asyncio", []),
        (namings_of_the_concrete, "linkbell_agent.sender", "from linkbell_agent.spool_file import SpoolFile", 1),
        (
            namings_of_the_concrete,
            "linkbell_agent.sender",
            "import linkbell_agent.spool_file\nlinkbell_agent.spool_file.SpoolFile()",
            1,
        ),
        (
            namings_of_the_concrete,
            "linkbell_agent.spool",
            "from linkbell_agent import spool_file as f\nf.SpoolFile()",
            1,
        ),
        (namings_of_the_concrete, "linkbell_agent.app", "from linkbell_agent.spool_file import SpoolFile", []),
        (namings_of_the_concrete, "linkbell_agent.spool", "from linkbell_agent.spool_file import StoredRecord", []),
        (readings_of_the_wall_clock, "linkbell_agent.x", "import time as t\nt.time()", ["time.time"]),
        (readings_of_the_wall_clock, "linkbell_agent.x", "from time import time\nnow = time", ["time.time"]),
        (readings_of_the_wall_clock, "linkbell_collector.x.clock", "import time\ntime.time_ns()", ["time.time_ns"]),
        (readings_of_the_wall_clock, "linkbell_agent.x", "from datetime import datetime as d\nd.now()", 1),
        (readings_of_the_wall_clock, "linkbell_agent.x", "import datetime\ndatetime.date.today()", 1),
        (readings_of_the_wall_clock, "linkbell_agent.clock", "import time\ntime.time()", []),
        (readings_of_the_wall_clock, "linkbell_agent.x", "import time\ntime.monotonic()", []),
        (readings_of_the_environment, "linkbell_agent.x", "import os\nos.environ['A']", ["os.environ"]),
        (readings_of_the_environment, "linkbell_agent.x", "from os import getenv\ngetenv('A')", ["os.getenv"]),
        (readings_of_the_environment, "linkbell_agent.x", "import os\nos.environ.get('A')", 2),
        (readings_of_the_environment, "linkbell_agent.settings", "import os\nos.environ", []),
    ],
)
def test_a_rule_finds_what_breaks_it_and_nothing_else(
    rule: Callable[[Module], list[str]], name: str, source: str, found: list[str] | int
) -> None:
    got = rule(sample(name, source))
    assert (len(got) if isinstance(found, int) else got) == found


# --- what a box has to load

HEAVY = {"aiohttp", "alembic", "asyncpg", "babel", "jinja2", "prometheus_client", "sqlalchemy", "uvloop"}
HEAVY = {"aiohttp", "alembic", "babel", "jinja2", "prometheus_client", "sqlalchemy", "tzfpy", "uvloop"}

LOAD_ALL = """
import importlib, json, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not found.name.endswith(".__main__"):
        importlib.import_module(found.name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def loaded_with(package: str) -> set[str]:
    """Return the top-level modules of a fresh Python that has imported every module of ``package``."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD_ALL, package], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_the_agent_loads_nothing_that_belongs_to_the_collector() -> None:
    assert loaded_with("linkbell_agent") & (HEAVY | {"linkbell_collector"}) == set()


def test_the_wire_loads_neither_of_the_two() -> None:
    assert loaded_with("linkbell_wire") & (HEAVY | {"linkbell_agent", "linkbell_collector"}) == set()


def test_what_is_loaded_is_seen() -> None:
    assert {"asyncio", "linkbell_wire", "pydantic"} <= loaded_with("linkbell_agent")
