"""A box with several uplinks: each looked at by itself."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from linkbell_agent.doctor.findings import Case, Check, Finding, Result
from linkbell_agent.language.speech import N_
from linkbell_agent.sections import OneOfUplinks
from linkbell_agent.ways_out import Trouble, carrying, device_of, trouble_with

_STRICT = 1

SAID = {
    Trouble.DEVICE_MISSING: N_("The network interface {device} is not there."),
    Trouble.DEVICE_DOWN: N_("The network interface {device} is switched off."),
    Trouble.NO_CARRIER: N_("The network interface {device} has no link."),
    Trouble.SOURCE_MISSING: N_("The address {source} is not on this box."),
    Trouble.DENIED: N_("This user may not bind to the network interface {device}."),
    Trouble.NO_ADDRESS: N_("The network interface {device} has no address."),
    Trouble.NO_ROUTE: N_("No default route leads out by {device}: nothing beyond its router can be measured."),
}

ADVICE = {
    Trouble.DEVICE_MISSING: N_("Plug the modem or adapter in, or correct the name: “ip link” shows those there are."),
    Trouble.DEVICE_DOWN: N_("Run as root: ip link set {device} up. The network settings of the box should do so."),
    Trouble.NO_CARRIER: N_("Check the cable at both ends, the modem's power, or the antenna and the SIM card."),
    Trouble.SOURCE_MISSING: N_("Compare it with “ip address”. An address that changes is better named by its device."),
    Trouble.DENIED: N_("Give the agent CAP_NET_RAW: its service has it, a user's shell may not."),
    Trouble.NO_ADDRESS: N_("See whether the router or modem gives this box an address (DHCP)."),
    Trouble.NO_ROUTE: N_(
        "Have the network settings keep a default route there, with a higher metric than that of the primary uplink."
    ),
}


def beyond(check: Check) -> Check:
    """Return a check that has nothing to look at while its uplink cannot be used."""

    async def if_usable(case: Case) -> Sequence[Finding]:
        trouble = None if case.way is None else trouble_with(case.way)
        if trouble in (None, Trouble.NO_ROUTE):
            return await check(case)
        said = case.speech.say("Not looked at: see what is said of its uplink.")
        return [replace(finding, result=Result.SKIPPED, said=said, advice=None) for finding in await check(case)]

    return if_usable


def on_each(check: Check) -> Check:
    """Return a check that looks at every uplink; on a box with one it is the same."""

    async def each(case: Case) -> Sequence[Finding]:
        if not case.others:
            return await check(case)
        cases = (case, *case.others)
        found = await asyncio.gather(*(check(one) for one in cases))
        return [
            replace(finding, name=f"{finding.name}.{one.uplink.name}", title=f"{finding.title}: {one.uplink.name}")
            for one, findings in zip(cases, found, strict=True)
            for finding in findings
        ]

    return each


async def standing(case: Case) -> list[Finding]:
    """Can probes be bound to this one of several uplinks, and does it lead out?"""
    say, title, way = case.speech.say, case.speech.say("Uplink"), case.way
    assert way is not None
    device = device_of(way) or way.device or ""
    trouble = trouble_with(way)
    if trouble is not None:
        said, advice = (say(text[trouble], device=device, source=way.source) for text in (SAID, ADVICE))
        if trouble is Trouble.NO_ROUTE:
            return [case.warning("uplink", title, said, advice)]
        return [case.failure("uplink", title, said, advice)]
    carries = carrying(case.settings.ways) == way.name
    if not carries and _drops_answers(device):
        said = say(
            "Answers that come in by {device} are dropped while the default route leaves by another.", device=device
        )
        advice = say("Run as root: {command}.", command=f"sysctl -w net.ipv4.conf.{device}.rp_filter=2")
        return [case.warning("uplink", title, said, advice)]
    words = say("The default route leaves by it.") if carries else say("The default route does not leave by it now.")
    return [case.good("uplink", title, f"{say('{name} can be used.', name=_name(way))} {words}")]


def _name(way: OneOfUplinks) -> str:
    return " ".join(filter(None, (way.device, way.source)))


def _drops_answers(device: str, root: Path = Path("/proc/sys/net/ipv4/conf")) -> bool:
    """Say whether the kernel takes packets only where it would send to where they come from (ip-sysctl, rp_filter)."""
    levels = []
    for name in ("all", device):
        try:
            levels.append(int((root / name / "rp_filter").read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return max(levels, default=0) == _STRICT
