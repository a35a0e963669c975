"""A school with two ways out: fibre and mobile, each with a router of its own, and one small world behind both.

What passes each router is counted there, so that a test can say which way a packet went.
"""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linkbell_wire.records import RECORD_ADAPTER, Record
from tests.agent.layers.world import COLLECTOR, DOMESTIC, INTERNATIONAL, NAME_SERVER, PLATFORM
from tests.linkbed import namespaces
from tests.linkbed.namespaces import REPOSITORY, Namespace, end

CHECK = "142.250.1.1"
FIBRE, MOBILE = "192.168.77", "10.64.0"
"""Networks of the two routers: the router is .1, the box .2."""

DEVICES = {"fibre": "eth0", "mobile": "wwan0"}
ROUTERS = {"fibre": f"{FIBRE}.1", "mobile": f"{MOBILE}.1"}
SOURCES = {"fibre": f"{FIBRE}.2", "mobile": f"{MOBILE}.2"}
METRICS = {"fibre": "100", "mobile": "600"}
RATES = {"fibre": "50mbit", "mobile": "20mbit"}
SERVER = "ws://collector.example.kz:8471"

UPLINKS = """
[[uplinks]]
name = "fibre"
device = "eth0"

[[uplinks]]
name = "mobile"
device = "wwan0"
budget = { profile = "metered", bytes_per_month = 2000000000 }
"""

SETTINGS = f"""
targets = [{{ name = "exchange", layer = "domestic", host = "{DOMESTIC}" }}]
platforms = [{{ name = "platform", url = "http://platform.example.kz/" }}]
[page]
enabled = false
[ping]
count = 3
[layers]
portal_url = "http://check.example.org/generate_204"
[speed]
servers = [{{ url = "{SERVER}" }}]
"""


def why_not() -> str | None:
    """Return why this machine cannot make this school, ``None`` if it can."""
    return namespaces.why_not("sysctl", "setpriv", "tc")


@dataclass
class School:
    """The namespaces. ``routers`` stand between the box and the world."""

    box: Namespace
    routers: dict[str, Namespace]
    world: Namespace
    manners: Path

    def passed(self, uplink: str) -> int:
        """Return how many IP packets the router of ``uplink`` was sent by the box, or forwarded to it."""
        return self._counted(uplink, "snmp", "Ip:", "InReceives")

    def carried(self, uplink: str) -> int:
        """Return the same in bytes."""
        return self._counted(uplink, "netstat", "IpExt:", "InOctets")

    def _counted(self, uplink: str, file: str, group: str, counter: str) -> int:
        lines = self.routers[uplink].run("cat", f"/proc/net/{file}").splitlines()
        names, values = (line.split() for line in lines if line.startswith(group))
        return int(dict(zip(names, values, strict=True))[counter])

    def cut(self, uplink: str) -> None:
        """Cut the cable of the box to that router: both ends lose their carrier, and the box its route."""
        self.routers[uplink].run("ip", "link", "set", "lan0", "down")

    def mend(self, uplink: str) -> None:
        self.routers[uplink].run("ip", "link", "set", "lan0", "up")

    def route(self, uplink: str, action: str, metric: str | None = None) -> None:
        """Add or delete (``add``, ``del``) the box's default route by that uplink."""
        self.box.run(
            *("ip", "route", action, "default", "via", ROUTERS[uplink], "dev", DEVICES[uplink]),
            *("metric", metric or METRICS[uplink]),
        )

    def settings(self, uplinks: str = UPLINKS, more: str = SETTINGS) -> Path:
        file = self.manners.with_name("agent.toml")
        file.write_text(more + uplinks, encoding="utf-8")
        return file

    def once(self, *words: str, uplinks: str = UPLINKS, expect: Sequence[int] = (0,)) -> Record:
        """Run one command of the agent in the box and return its record."""
        command = (sys.executable, "-m", "linkbell_agent", *words, "--config", str(self.settings(uplinks)), "--json")
        done = subprocess.run(
            self.box.inside(*command, "--state", str(self.manners.with_name("nothing"))),
            capture_output=True,
            text=True,
            check=False,
            cwd=REPOSITORY,
            timeout=60,
        )
        assert done.returncode in expect, done.stderr
        return RECORD_ADAPTER.validate_json(done.stdout)

    @contextlib.contextmanager
    def driver(self, uplinks: str = UPLINKS) -> Iterator["Driver"]:
        """Run a watch of each uplink in the box."""
        command = self.box.inside(sys.executable, "-m", "tests.agent.uplinks.drive", str(self.settings(uplinks)))
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Driver(process)
        finally:
            process.stdin.close()
            with process.stdout:
                end(process, 15)


@dataclass
class Driver:
    """The agent's watches inside the box, which do a round when told to."""

    process: "subprocess.Popen[str]"

    def round(self, uplink: str) -> dict[str, Any]:
        """Do one round on one uplink; return the verdict after it, and the records."""
        return self._tell(do="round", uplink=uplink)

    def carrier(self) -> str | None:
        """Return which uplink carries the default route."""
        found: str | None = self._tell(do="carrier")["carrier"]
        return found

    def trouble(self, uplink: str) -> str | None:
        """Return what is wrong with an uplink."""
        found: str | None = self._tell(do="trouble", uplink=uplink)["trouble"]
        return found

    def until(self, uplink: str, verdict: str, most: int = 4) -> list[dict[str, Any]]:
        """Do rounds on one uplink until its verdict is that."""
        done: list[dict[str, Any]] = []
        while len(done) < most:
            done.append(self.round(uplink))
            if done[-1]["verdict"] == verdict:
                return done
        raise AssertionError(f"not {verdict} but {[one['verdict'] for one in done]}: {done[-1]['records']}")

    def _tell(self, **command: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


@contextlib.contextmanager
def school(folder: Path) -> Iterator[School]:
    """Make it all, and remove it after. The default route goes by the fibre; the other has one of higher metric."""
    with contextlib.ExitStack() as stack:
        box, fibre, mobile, world = (stack.enter_context(namespaces.namespace(Namespace)) for _ in range(4))
        made = School(box, {"fibre": fibre, "mobile": mobile}, world, folder / "manners")
        made.manners.write_text("{}", encoding="utf-8")
        for side in (box, fibre, mobile, world):
            side.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        for number, (name, router) in enumerate(made.routers.items(), 1):
            lan = ROUTERS[name].rpartition(".")[0]
            _join(box, router, (DEVICES[name], f"{lan}.2/24"), ("lan0", f"{lan}.1/24"))
            _join(router, world, ("wan0", f"100.64.{number}.2/30"), (f"core{number}", f"100.64.{number}.1/30"))
            router.run("ip", "route", "add", "default", "via", f"100.64.{number}.1")
            router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.icmp_ratelimit=0")
            world.run("ip", "route", "add", f"{lan}.0/24", "via", f"100.64.{number}.2")
            made.route(name, "add")
            for device in ("lan0", "wan0"):
                tbf = ("tbf", "rate", RATES[name], "burst", "64k", "latency", "100ms")
                router.run("tc", "qdisc", "add", "dev", device, "root", *tbf)
        box.run("sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647")
        for address in (DOMESTIC, INTERNATIONAL, NAME_SERVER, COLLECTOR, PLATFORM, CHECK):
            world.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        stack.enter_context(_resolver_of(box))
        serve = (sys.executable, "-m", "tests.agent.layers.servers", str(made.manners), "names", "pages")
        stack.enter_context(world.service(serve, "ready"))
        measure = (sys.executable, "-m", "linkbell_collector.cli", "measure", "--listen", f"{COLLECTOR}:8471")
        stack.enter_context(world.service([*measure, "--max-tests-per-address", "0"], "listening on", quiet=True))
        yield made


def _join(left: Namespace, right: Namespace, near: tuple[str, str], far: tuple[str, str]) -> None:
    left.run("ip", "link", "add", near[0], "type", "veth", "peer", "name", far[0], "netns", right.name)
    for side, (device, address) in ((left, near), (right, far)):
        side.run("ip", "address", "add", address, "dev", device)
        side.run("ip", "link", "set", device, "up")


@contextlib.contextmanager
def _resolver_of(box: Namespace) -> Iterator[None]:
    """Give the box a resolv.conf of its own, as two leases leave it: a public name server for both."""
    folder = Path("/etc/netns") / box.name
    had_parent = folder.parent.exists()
    folder.mkdir(parents=True)
    try:
        text = f"nameserver {NAME_SERVER}\noptions timeout:1 attempts:1\n"
        (folder / "resolv.conf").write_text(text, encoding="ascii")
        yield
    finally:
        shutil.rmtree(folder)
        if not had_parent:
            with contextlib.suppress(OSError):
                folder.parent.rmdir()
