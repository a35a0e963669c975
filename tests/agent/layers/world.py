"""A school, its provider and a small world: four namespaces in a row, and servers that can be told to misbehave."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.linkbed import namespaces
from tests.linkbed.namespaces import REPOSITORY, Namespace, end

GATEWAY, GATEWAY6, BOX, BOX6 = "192.168.77.1", "fd77::1", "192.168.77.2", "fd77::2"
HOP, ROUTER_OUTSIDE = "100.64.9.1", "100.64.9.2"
DOMESTIC, INTERNATIONAL = "82.200.1.1", "1.1.1.1"
NAME_SERVER, COLLECTOR, PLATFORM, CHECK = "82.200.2.2", "82.200.3.3", "82.200.4.4", "142.250.1.1"
ABROAD = (INTERNATIONAL, CHECK)
NAMES = {"collector.example.kz": COLLECTOR, "platform.example.kz": PLATFORM, "check.example.org": CHECK}

UNPRIVILEGED = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")

SETTINGS = f"""
targets = [{{ name = "exchange", layer = "domestic", host = "{DOMESTIC}" }}]
platforms = [{{ name = "platform", url = "http://platform.example.kz/" }}]
[ping]
count = 3
[layers]
portal_url = "http://check.example.org/generate_204"
"""


def why_not() -> str | None:
    """Return why this machine cannot make this world, ``None`` if it can."""
    return namespaces.why_not("setpriv", "sysctl")


@dataclass
class Driver:
    """An agent's watch inside the box, which does a round when told to."""

    process: "subprocess.Popen[str]"

    def tell(self, **command: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def round(self) -> dict[str, Any]:
        """Do one round; return the verdict after it, and the records."""
        return self.tell(do="round")

    def rounds_until(self, verdict: str, most: int = 4) -> list[dict[str, Any]]:
        """Do rounds until the verdict is that."""
        done: list[dict[str, Any]] = []
        while len(done) < most:
            done.append(self.round())
            if done[-1]["verdict"] == verdict:
                return done
        raise AssertionError(f"not {verdict} but {[one['verdict'] for one in done]}: {done[-1]['records']}")


@dataclass
class World:
    """The namespaces, nearest first, and the file by which the servers are told how to behave."""

    box: Namespace
    router: Namespace
    provider: Namespace
    world: Namespace
    manners: Path

    def behave(self, **manners: str) -> None:
        """Have the servers behave so: ``dns`` (refuse, silent, lie, invent), ``collector``, ``platform`` (503)."""
        self.manners.write_text(json.dumps(manners), encoding="utf-8")

    @contextlib.contextmanager
    def driver(self, *, privileged: bool = True) -> Iterator[Driver]:
        """Run a watch in the box."""
        drop = () if privileged else UNPRIVILEGED
        settings = self.manners.with_name("agent.toml")
        settings.write_text(SETTINGS, encoding="utf-8")
        command = self.box.inside(*drop, sys.executable, "-m", "tests.agent.layers.drive", str(settings))
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Driver(process)
        finally:
            process.stdin.close()
            with process.stdout:
                end(process, 15)


def _join(left: Namespace, right: Namespace, near: tuple[str, str], far: tuple[str, str]) -> None:
    """Lay a cable between two namespaces; ``near`` and ``far`` are device and address at each end."""
    left.run("ip", "link", "add", near[0], "type", "veth", "peer", "name", far[0], "netns", right.name)
    for side, (device, address) in ((left, near), (right, far)):
        side.run("ip", "address", "add", address, "dev", device)
        side.run("ip", "link", "set", device, "up")


@contextlib.contextmanager
def world(folder: Path) -> Iterator[World]:
    """Make it all, and remove it after."""
    with contextlib.ExitStack() as stack:
        box, router, provider, far = (stack.enter_context(namespaces.namespace(Namespace)) for _ in range(4))
        made = World(box, router, provider, far, folder / "manners")
        made.behave()
        _join(made.box, made.router, ("eth0", f"{BOX}/24"), ("lan0", f"{GATEWAY}/24"))
        _join(made.router, made.provider, ("wan0", f"{ROUTER_OUTSIDE}/30"), ("school0", f"{HOP}/30"))
        _join(made.provider, made.world, ("core0", "100.64.8.1/30"), ("eth0", "100.64.8.2/30"))
        for side, device, address in ((made.box, "eth0", BOX6), (made.router, "lan0", GATEWAY6)):
            side.run("ip", "address", "add", f"{address}/64", "dev", device, "nodad")
        made.box.run("ip", "route", "add", "default", "via", GATEWAY)
        made.router.run("ip", "route", "add", "default", "via", HOP)
        made.provider.run("ip", "route", "add", "default", "via", "100.64.8.2")
        made.provider.run("ip", "route", "add", "192.168.77.0/24", "via", ROUTER_OUTSIDE)
        made.world.run("ip", "route", "add", "default", "via", "100.64.8.1")
        for address in (DOMESTIC, INTERNATIONAL, NAME_SERVER, COLLECTOR, PLATFORM, CHECK):
            made.world.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        for side in (made.router, made.provider):
            side.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.icmp_ratelimit=0")
        made.box.run("sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647")
        stack.enter_context(_resolver_of(made.box))
        serve = (sys.executable, "-m", "tests.agent.layers.servers", str(made.manners))
        stack.enter_context(made.world.service([*serve, "world"], "ready"))
        stack.enter_context(made.router.service([*serve, "portal"], "ready"))
        yield made


@contextlib.contextmanager
def _resolver_of(box: Namespace) -> Iterator[None]:
    """Give the namespace a resolv.conf of its own (ip-netns(8))."""
    folder = Path("/etc/netns") / box.name
    had_parent = folder.parent.exists()
    folder.mkdir(parents=True)
    try:
        (folder / "resolv.conf").write_text(
            f"nameserver {NAME_SERVER}\noptions timeout:1 attempts:1\n", encoding="ascii"
        )
        yield
    finally:
        shutil.rmtree(folder)
        if not had_parent:
            with contextlib.suppress(OSError):
                folder.parent.rmdir()
