"""What a check finds, and what it is given."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from linkbell_agent.clock import Clock
from linkbell_agent.collector_api import CollectorApi
from linkbell_agent.identity import Identity
from linkbell_agent.language.quantities import Quantities
from linkbell_agent.language.speech import Speech
from linkbell_agent.link import Closable
from linkbell_agent.net import Uplink
from linkbell_agent.plan import Plan
from linkbell_agent.probes.base import PingRequest, Probe
from linkbell_agent.sections import OneOfUplinks, Settings
from linkbell_agent.slim import dataclass


class Result(StrEnum):
    """How it is. ``skipped`` is a check that had nothing to look at."""

    GOOD = "good"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: ``name`` is for programs, ``title``, ``said`` and ``advice`` are for people."""

    name: str
    title: str
    result: Result
    said: str
    advice: str | None = None


class Api(CollectorApi, Closable, Protocol):
    """HTTP to one place."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What reaches out: a ping that asks a silent gateway by ARP, and HTTP to a URL within so many seconds."""

    ping: Probe[PingRequest]
    new_api: Callable[[str, float], Api]


@dataclass(frozen=True, slots=True)
class Case:
    """What the checks look at. ``identity_problem`` says why the identity cannot be read."""

    settings: Settings
    speech: Speech
    clock: Clock
    uplink: Uplink
    plan: Plan
    outside: Outside
    identity: Identity | None
    identity_problem: str | None = None
    agent_runs: bool | None = None
    way: OneOfUplinks | None = None
    others: Sequence["Case"] = ()
    """On a box with several uplinks ``way`` is the settings of this one, and ``others`` are the cases of the others."""
    proc: Path = Path("/proc")
    quantities: Quantities = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantities", Quantities(self.speech))

    @property
    def reports_by(self) -> Uplink:
        """How results leave: of several uplinks by the one that carries the default route."""
        return self.uplink if self.way is None else Uplink()

    def good(self, name: str, title: str, said: str) -> Finding:
        """All is well."""
        return Finding(name, title, Result.GOOD, said)

    def warning(self, name: str, title: str, said: str, advice: str) -> Finding:
        """It works, and something should be done."""
        return Finding(name, title, Result.WARNING, said, advice)

    def failure(self, name: str, title: str, said: str, advice: str) -> Finding:
        """It does not work before something is done."""
        return Finding(name, title, Result.FAILURE, said, advice)

    def skipped(self, name: str, title: str, said: str) -> Finding:
        """There was nothing to look at."""
        return Finding(name, title, Result.SKIPPED, said)


Check = Callable[[Case], Awaitable[Sequence[Finding]]]
