"""Runs the checks side by side, each within its time, and says what came of them."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from linkbell_agent.doctor import box, collector, network, service
from linkbell_agent.doctor.findings import Case, Check, Finding, Result
from linkbell_agent.doctor.uplinks import beyond, on_each

log = logging.getLogger(__name__)

CHECK_LIMIT_S = 20.0
"""Names, connection and answer of the collector have limits of their own that add up to this; all else is quicker."""

CHECKS: Mapping[str, Check] = {
    "enrolled": service.enrolled,
    "running": service.running,
    "folder": box.disk,
    "spool": service.spool,
    "icmp": box.icmp,
    "uplink": on_each(box.uplink),
    "gateway": on_each(beyond(network.gateway)),
    "dns": on_each(beyond(network.names)),
    "collector": collector.collector,
    "measurement": on_each(beyond(network.measurement)),
    "traffic": box.traffic,
    "clock_synced": box.clock,
    "memory": box.memory,
    "extras": box.extras,
    "page": box.page,
}
"""In the order of the report."""

MARKS = {Result.GOOD: "✓", Result.WARNING: "!", Result.FAILURE: "✗", Result.SKIPPED: "–"}


async def examine(case: Case, checks: Mapping[str, Check] = CHECKS, limit_s: float = CHECK_LIMIT_S) -> list[Finding]:
    """Run all checks at once and return what they found, in their order. Takes ``limit_s`` at most."""
    found = await asyncio.gather(*(_within_limit(name, check, case, limit_s) for name, check in checks.items()))
    return [finding for findings in found for finding in findings]


async def _within_limit(name: str, check: Check, case: Case, limit_s: float) -> Sequence[Finding]:
    say = case.speech.say
    try:
        async with asyncio.timeout(limit_s):
            return await check(case)
    except TimeoutError:
        said = say("The check took longer than {duration}.", duration=case.quantities.duration(limit_s))
        return [case.failure(name, name, said, say("Look at what is said of router and names, then run this again."))]
    except Exception as error:  # the one place: one broken check must not hide what the others found
        log.debug("the check %s failed", name, exc_info=True)
        said = say("The check itself failed ({error}).", error=type(error).__name__)
        return [case.failure(name, name, said, say("Please report this, with what “--set log_level=debug” adds."))]


def exit_is_good(findings: Sequence[Finding]) -> bool:
    """Say whether nothing failed; warnings do not count."""
    return all(finding.result is not Result.FAILURE for finding in findings)


def report(findings: Sequence[Finding], case: Case, marks: Mapping[Result, str] = MARKS) -> list[str]:
    """Return the findings as lines, what to do under each, and a sentence at the end."""
    words = {
        Result.GOOD: case.speech.say("good"),
        Result.WARNING: case.speech.say("warning"),
        Result.FAILURE: case.speech.say("failure"),
        Result.SKIPPED: case.speech.say("not checked"),
    }
    width = max(len(word) for word in words.values())
    title_width = max((len(finding.title) for finding in findings), default=0)
    lines = []
    for one in findings:
        lines.append(f"{marks[one.result]} {words[one.result]:<{width}}  {one.title:<{title_width}}  {one.said}")
        if one.advice is not None:
            lines.append(f"{'':<{width + title_width + 6}}→ {one.advice}")
    return [*lines, "", _sum(findings, case)]


def _sum(findings: Sequence[Finding], case: Case) -> str:
    failures = sum(one.result is Result.FAILURE for one in findings)
    warnings = sum(one.result is Result.WARNING for one in findings)
    say, say_n = case.speech.say, case.speech.say_n
    if not failures and not warnings:
        return say("Everything is well.")
    parts = []
    if failures:
        parts.append(say_n("{n} failure", "{n} failures", failures))
    if warnings:
        parts.append(say_n("{n} warning", "{n} warnings", warnings))
    return say("Found: {list}. What to do stands behind each arrow; begin at the top.", list=", ".join(parts))
