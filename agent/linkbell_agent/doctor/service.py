"""The agent as a service: enrolled, running, and what waits to be sent."""

import contextlib
import sqlite3
from pathlib import Path

from linkbell_agent.doctor.findings import Case, Finding

MANY_WAITING = 2000


async def enrolled(case: Case) -> list[Finding]:
    """Does this box know its collector?"""
    say, title = case.speech.say, case.speech.say("Enrolled")
    advice = say("Ask the operator of the collector for a join token, and run: linkbell-agent enrol URL --token -")
    if case.identity_problem is not None:
        return [case.failure("enrolled", title, case.identity_problem, advice)]
    if case.identity is None:
        return [case.failure("enrolled", title, say("This box has not enrolled: nobody sees its results."), advice)]
    school = case.identity.school or "–"
    agent, url = case.identity.agent, case.identity.collector
    said = say("As {agent} of school {school}, with {url}.", agent=agent, school=school, url=url)
    return [case.good("enrolled", title, said)]


async def running(case: Case) -> list[Finding]:
    """Does an agent run on this state folder?"""
    say, title = case.speech.say, case.speech.say("Agent running")
    if case.agent_runs is None:
        said = say("This user may not look into the state folder.")
        return [case.warning("running", title, said, say("Run this as root, or as the user the agent runs as."))]
    if case.agent_runs:
        return [case.good("running", title, say("Yes."))]
    advice = say("Start it: systemctl start linkbell-agent, or linkbell-agent run.")
    return [case.warning("running", title, say("No: nothing is measured."), advice)]


async def spool(case: Case) -> list[Finding]:
    """What waits on disk, what was lost, and what was set aside?"""
    say, say_n, title = case.speech.say, case.speech.say_n, case.speech.say("Results on disk")
    path = case.settings.state / "spool.db"
    aside = sorted(
        found.name for found in path.parent.glob("spool.db.*-*") if not found.name.endswith(("-wal", "-shm"))
    )
    findings = []
    if aside:
        said = say("A damaged file was set aside: {name}.", name=aside[-1])
        findings.append(
            case.warning("spool_damaged", title, said, say("Check the memory card: power cuts wear it out."))
        )
    if not path.exists():
        return [*findings, case.good("spool", title, say("None waits."))]
    try:
        waiting, dropped = _count(path)
    except sqlite3.Error:
        advice = say("Run this as root, or as the user the agent runs as.")
        return [*findings, case.warning("spool", title, say("They cannot be read."), advice)]
    if dropped:
        said = say_n(
            "{n} result was given up because there was no room.",
            "{n} results were given up because there was no room.",
            dropped,
        )
        advice = say("See that the collector is reached, and that the disk has room.")
        findings.append(case.warning("spool_dropped", title, said, advice))
    said = say("None waits.")
    if waiting:
        said = say_n("{n} result waits to be sent.", "{n} results wait to be sent.", waiting)
    if waiting > MANY_WAITING:
        advice = say("See what is said of the collector. They are kept until it takes them.")
        return [*findings, case.warning("spool", title, said, advice)]
    return [*findings, case.good("spool", title, said)]


def _count(path: Path) -> tuple[int, int]:
    """Return how many records wait on disk and how many were given up. Raises ``sqlite3.Error``."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2)) as database:
        waiting = int(database.execute("SELECT count(*) FROM records").fetchone()[0])
        counters = dict(database.execute("SELECT name, value FROM counters"))
    return waiting, int(counters.get("dropped", 0))
