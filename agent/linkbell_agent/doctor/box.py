"""The box itself: rights, disk, memory, clock, what is installed."""

import contextlib
import importlib.util
import os
import socket
import tempfile
from pathlib import Path

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.courtesy.sight import look_around
from linkbell_agent.doctor.findings import Case, Finding
from linkbell_agent.doctor.uplinks import standing
from linkbell_agent.icmp import open_echo_socket
from linkbell_agent.net import Address, Uplink, bind_to_uplink
from linkbell_agent.page.child import find_zone
from linkbell_agent.page.listen import read_listen
from linkbell_agent.status.source import ask_page
from linkbell_agent.threads import BlockingCalls
from linkbell_wire.failures import FailureCode
from linkbell_wire.words import Engine, PingSocket

DISK_LEAST_BYTES = 2e6
DISK_ENOUGH_BYTES = 20e6
MEMORY_LEAST_BYTES = 8e6
MEMORY_ENOUGH_BYTES = 20e6
PAGE_TIMEOUT_S = 10.0

_calls = BlockingCalls(limit=2)


async def icmp(case: Case) -> list[Finding]:
    """May this user ping?"""
    say, title = case.speech.say, case.speech.say("Permission to ping (ICMP)")
    advice = say(
        "Run as root: {command}. To keep it over a restart, write the setting into a file under /etc/sysctl.d/.",
        command="sysctl -w net.ipv4.ping_group_range='0 2147483647'",
    )
    try:
        echo = open_echo_socket(Address(socket.AF_INET, "127.0.0.1"), Uplink())
    except NetworkFailure as failure:
        if failure.failure.code is not FailureCode.PERMISSION_DENIED:
            raise
        said = say("The kernel allows this user neither kind of ICMP socket; TCP connections are timed instead.")
        return [case.warning("icmp", title, said, advice)]
    with contextlib.closing(echo):
        if echo.kind is PingSocket.DATAGRAM:
            return [case.good("icmp", title, say("Allowed without special rights (datagram socket)."))]
        return [case.good("icmp", title, say("Allowed by special rights (raw socket)."))]


async def uplink(case: Case) -> list[Finding]:
    """Can probes be bound to the uplink that is configured?"""
    if case.way is not None:
        return await standing(case)
    say, title, wished = case.speech.say, case.speech.say("Uplink"), case.uplink
    if wished.device is None and wished.source is None:
        return [case.skipped("uplink", title, say("None is set: the box's own routes decide."))]
    name = " ".join(filter(None, (wished.device, wished.source)))
    family = socket.AF_INET6 if wished.source is not None and ":" in wished.source else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            bind_to_uplink(sock, wished)
    except NetworkFailure as failure:
        code = failure.failure.code
        if code is FailureCode.PERMISSION_DENIED:
            advice = say("Give the agent CAP_NET_RAW, or set uplink.source instead of uplink.device.")
        else:
            advice = say("Compare uplink.device and uplink.source with what “ip address” shows.")
        return [case.failure("uplink", title, say("{name} cannot be used.", name=name), advice)]
    return [case.good("uplink", title, say("{name} can be used.", name=name))]


async def disk(case: Case) -> list[Finding]:
    """Can the state folder be written, is it nobody else's to read, and is there room?"""
    state = case.settings.state
    return [_folder(case, state), *_room(case, state)]


def _folder(case: Case, state: Path) -> Finding:
    say, title = case.speech.say, case.speech.say("State folder")
    if not state.is_dir():
        advice = say("It is made by enrolling. If it should be there, give the right one with --state DIR.")
        return case.failure("folder", title, say("{path} is not there.", path=state), advice)
    try:
        with tempfile.TemporaryFile(dir=state):
            pass
        mode = state.stat().st_mode & 0o777
    except OSError as error:
        said = say("{path} cannot be written ({reason}).", path=state, reason=error.strerror)
        advice = say("Run this as the user the agent runs as, or as root. If it stays, the disk may be full or broken.")
        return case.failure("folder", title, said, advice)
    if mode & 0o077:
        said = say("{path} can be read by other users of this box.", path=state)
        return case.warning("folder", title, said, say("Run: chmod 700 {path}", path=state))
    return case.good("folder", title, say("{path} can be written, by this user only.", path=state))


def _room(case: Case, state: Path) -> list[Finding]:
    say, title = case.speech.say, case.speech.say("Room on the disk")
    try:
        found = os.statvfs(state)
    except OSError:
        return []  # said of the folder already
    free = found.f_bavail * found.f_frsize
    said = say("{size} free.", size=case.quantities.megabytes(free))
    advice = say("Delete what is not needed: without room an outage's results are lost at the next power cut.")
    if free < DISK_LEAST_BYTES:
        return [case.failure("disk", title, said, advice)]
    if free < DISK_ENOUGH_BYTES:
        return [case.warning("disk", title, said, advice)]
    return [case.good("disk", title, said)]


async def traffic(case: Case) -> list[Finding]:
    """Whose traffic do the counters show? Neither answer is wrong; a technician should know which it is."""
    say, title = case.speech.say, case.speech.say("Other people's traffic")
    if look_around(outside=case.uplink.device).sees_only_itself:
        said = say("This box stands beside the router and sees only its own traffic: tests cannot wait for others.")
    else:
        said = say("This box is the router: it sees the school's traffic, and tests wait while others use the line.")
    return [case.good("traffic", title, said)]


async def memory(case: Case) -> list[Finding]:
    """Is there memory left?"""
    say, title = case.speech.say, case.speech.say("Memory")
    free = _available_bytes(case.proc)
    if free is None:
        return [case.skipped("memory", title, say("This system does not say."))]
    said = say("{size} free.", size=case.quantities.megabytes(free))
    advice = say("End other programs on this box, or restart it. The agent needs about 45 MB.")
    if free < MEMORY_LEAST_BYTES:
        return [case.failure("memory", title, said, advice)]
    if free < MEMORY_ENOUGH_BYTES:
        return [case.warning("memory", title, said, advice)]
    return [case.good("memory", title, said)]


def _available_bytes(proc: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (proc / "meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


async def clock(case: Case) -> list[Finding]:
    """Is the clock kept right by somebody? Whether it is right, the collector's answer says."""
    say, title = case.speech.say, case.speech.say("Clock set by the network (NTP)")
    synced = case.clock.synced()
    if synced is None:
        return [case.skipped("clock_synced", title, say("This system does not say."))]
    if synced:
        return [case.good("clock_synced", title, say("Yes."))]
    advice = say("Run: timedatectl set-ntp true. Results keep their true times, but encryption needs a right clock.")
    return [case.warning("clock_synced", title, say("No: nothing keeps this box's clock right."), advice)]


async def extras(case: Case) -> list[Finding]:
    """Is there what the settings ask for?"""
    say, title, findings = case.speech.say, case.speech.say("Additional parts"), []
    if case.settings.speed.engine is Engine.OOKLA and importlib.util.find_spec("speedtest") is None:
        advice = say("Run: pip install 'linkbell[agent,ookla]', or set speed.engine to ndt7.")
        said = say("speed.engine is ookla, and speedtest-cli is not installed.")
        findings.append(case.failure("extras", title, said, advice))
    zone = _zone_name(case)
    if zone is not None and find_zone(zone) is None:
        advice = say("Install the package tzdata. Until then times are shown in this box's own zone.")
        said = say("The school's time zone {zone} is not known to this box.", zone=zone)
        findings.append(case.warning("timezone", title, said, advice))
    return findings or [case.good("extras", title, say("All that the settings ask for is installed."))]


def _zone_name(case: Case) -> str | None:
    from linkbell_agent.configuration import read_kept_configuration

    configuration = read_kept_configuration(case.settings.state)
    return None if configuration is None or configuration.school is None else configuration.school.timezone


async def page(case: Case) -> list[Finding]:
    """Does the local page answer?"""
    from linkbell_agent.page.gather import own_address

    say, title = case.speech.say, case.speech.say("Local page")
    if not case.settings.page.enabled:
        return [case.skipped("page", title, say("Switched off (page.enabled)."))]
    if not case.agent_runs:
        return [case.skipped("page", title, say("It is served while the agent runs."))]
    host, port = read_listen(case.settings.page.listen)
    if await _calls.run(ask_page, case.settings, PAGE_TIMEOUT_S) is None:
        said = say("Nothing answers on port {port}.", port=port)
        advice = say(
            "Another program may have the port: the agent says so when it starts. The setting page.listen moves it."
        )
        return [case.warning("page", title, said, advice)]
    gateway = next((one.host for one in case.plan.targets if one.name == "gateway"), None)
    shown = own_address(gateway) or "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared
    url = f"http://{shown}:{port}/"
    return [case.good("page", title, say("Open {url} in the school's network.", url=url))]
