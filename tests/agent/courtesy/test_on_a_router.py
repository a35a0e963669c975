"""A real router, a pupil and the world in network namespaces: the router sees the pupil, a box beside it does not."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.linkbed import namespaces
from tests.linkbed.namespaces import Namespace

REASON = namespaces.why_not("sysctl")
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")

LOOK = """
import asyncio, json, sys, time
from linkbell_agent.courtesy.port import PortLook
from linkbell_agent.courtesy.sight import look_around
rates = asyncio.run(PortLook(lambda: "wan", time.monotonic, asyncio.sleep)(1.0))
print(json.dumps([rates.download_bps, rates.upload_bps, look_around().sees_only_itself]))
"""


def namespace() -> contextlib.AbstractContextManager[Namespace]:
    return namespaces.namespace(Namespace)


def join(one: tuple[Namespace, str, str], other: tuple[Namespace, str, str]) -> None:
    """Lay a cable between two namespaces; each has its device and its address."""
    one[0].run("ip", "link", "add", one[1], "type", "veth", "peer", "name", other[1], "netns", other[0].name)
    for side, device, address in (one, other):
        side.run("ip", "address", "add", address, "dev", device)
        side.run("ip", "link", "set", device, "up")


@contextlib.contextmanager
def school() -> Iterator[tuple[Namespace, Namespace, Namespace, Namespace]]:
    """Return a pupil's computer, the router, a box beside it, and the world, which answers at 10.78.0.1."""
    with namespace() as world, namespace() as router, namespace() as pupil, namespace() as box:
        join((router, "wan", "10.78.0.2/24"), (world, "out", "10.78.0.1/24"))
        join((router, "lan0", "10.79.0.1/24"), (pupil, "eth0", "10.79.0.2/24"))
        join((router, "lan1", "10.80.0.1/24"), (box, "wan", "10.80.0.2/24"))
        router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        router.run("ip", "route", "add", "default", "via", "10.78.0.1")
        for network in ("10.79.0.0/24", "10.80.0.0/24"):
            world.run("ip", "route", "add", network, "via", "10.78.0.2")
        for side, gateway in ((pupil, "10.79.0.1"), (box, "10.80.0.1")):
            side.run("ip", "route", "add", "default", "via", gateway)
            side.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
        yield pupil, router, box, world


BUSY = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.sendto(b"x", (sys.argv[1], 9))
print("sending", flush=True)
while True:
    sock.sendto(bytes(972), (sys.argv[1], 9))
    time.sleep(0.01)
"""
"""About a hundred times a second 1000 bytes of IP: 800 kbit/s at most. Nobody answers."""


def seen_while_the_pupil_is_busy(pupil: Namespace, watcher: Namespace) -> tuple[float, float, bool]:
    """Return bits per second in and out, and whether it sees only itself."""
    with pupil.service([sys.executable, "-c", BUSY, "10.78.0.1"], "sending", quiet=True):
        down_bps, up_bps, only_itself = json.loads(watcher.run(sys.executable, "-c", LOOK))
    return down_bps, up_bps, only_itself


def test_a_router_sees_the_pupils_and_a_box_beside_it_sees_itself() -> None:
    with school() as (pupil, router, box, _):
        down_bps, up_bps, only_itself = seen_while_the_pupil_is_busy(pupil, router)
        assert not only_itself
        assert 100_000 < up_bps < 1_000_000
        assert down_bps < up_bps / 2
        down_bps, up_bps, only_itself = seen_while_the_pupil_is_busy(pupil, box)
        assert only_itself
        assert max(down_bps, up_bps) < 20_000


def test_each_says_whose_traffic_it_sees_to_the_technician_and_in_its_records(tmp_path: Path) -> None:
    agent = [sys.executable, "-m", "linkbell_agent"]
    server = [sys.executable, "-m", "linkbell_collector.cli", "measure", "--listen", "10.78.0.1:8471"]
    seen, said = [], []
    with school() as (_, router, box, world), world.service(server, "listening on"):
        for side in (router, box):
            test = side.run(*agent, "speed", "--server", "ws://10.78.0.1:8471", "--max-duration", "1", "--json")
            seen.append(json.loads(test)["sees_only_itself"])
            done = subprocess.run(  # it fails for want of a collector
                side.inside(*agent, "doctor", "--json", "--state", str(tmp_path)),
                capture_output=True,
                text=True,
                check=False,
            )
            [finding] = [one for one in json.loads(done.stdout)["checks"] if one["name"] == "traffic"]
            said.append(finding["said"])
    assert seen == [False, True]
    assert ["This box is the router" in said[0], "beside the router" in said[1]] == [True, True]
