"""Schools, their providers and a small world: namespaces in a row, and servers that can be told to misbehave."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.linkbed import bed, namespaces
from tests.linkbed.lines import Line
from tests.linkbed.namespaces import REPOSITORY, Namespace, end

DOMESTIC, INTERNATIONAL = "82.200.1.1", "1.1.1.1"
NAME_SERVER, COLLECTOR, PLATFORM, CHECK = "82.200.2.2", "82.200.3.3", "82.200.4.4", "142.250.1.1"
LESSONS = "82.200.4.5"
ABROAD = (INTERNATIONAL, CHECK)
NAMES = {
    "collector.example.kz": COLLECTOR,
    "platform.example.kz": PLATFORM,
    "lessons.example.kz": LESSONS,
    "check.example.org": CHECK,
}


@dataclass(frozen=True)
class Place:
    """The addresses of one school of several: its own network, its line, and its provider's way to the world."""

    number: int = 0

    @property
    def network(self) -> str:
        return f"192.168.{77 + self.number}.0/24"

    @property
    def gateway(self) -> str:
        return f"192.168.{77 + self.number}.1"

    @property
    def box(self) -> str:
        return f"192.168.{77 + self.number}.2"

    @property
    def line(self) -> str:
        return f"100.64.9.{4 * self.number}/30"

    @property
    def hop(self) -> str:
        """The provider's first router, as the school's router sees it."""
        return f"100.64.9.{4 * self.number + 1}"

    @property
    def router_outside(self) -> str:
        return f"100.64.9.{4 * self.number + 2}"

    @property
    def core(self) -> tuple[str, str]:
        """The provider's address towards the world, and the world's towards it."""
        return f"100.64.8.{4 * self.number + 1}", f"100.64.8.{4 * self.number + 2}"


FIRST = Place()
GATEWAY, BOX, HOP = FIRST.gateway, FIRST.box, FIRST.hop
GATEWAY6, BOX6 = "fd77::1", "fd77::2"

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
    """The namespaces, nearest first, and the file by which the servers are told how to behave.

    ``names`` is the one in which the name server stands.
    """

    box: Namespace
    router: Namespace
    provider: Namespace
    world: Namespace
    manners: Path
    names: Namespace
    place: Place = FIRST

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
    """Make one school and all beyond it, and remove it after."""
    with contextlib.ExitStack() as stack:
        far = stack.enter_context(outside())
        far.run("ip", "address", "add", f"{NAME_SERVER}/32", "dev", "lo")
        made = stack.enter_context(school(folder, far))
        stack.enter_context(far.service(serve(made.manners, "names", "pages"), "ready"))
        yield made


@contextlib.contextmanager
def outside() -> Iterator[Namespace]:
    """Make the world beyond all providers: every host of it is an address of one namespace."""
    with namespaces.namespace(Namespace) as far:
        for address in (DOMESTIC, INTERNATIONAL, COLLECTOR, PLATFORM, LESSONS, CHECK):
            far.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        yield far


def serve(manners: Path, *parts: str) -> list[str]:
    """Return the command of servers: ``names``, ``pages``, or a ``portal`` that answers in everybody's name."""
    return [sys.executable, "-m", "tests.agent.layers.servers", str(manners), *parts]


@contextlib.contextmanager
def school(
    folder: Path, far: Namespace, place: Place = FIRST, line: Line | None = None, *, own_names: bool = False
) -> Iterator[World]:
    """Make a school and its provider before the world ``far``.

    With a ``line`` it is an emulated one that lies between the two; with ``own_names`` the name server is the
    provider's own.
    """
    with contextlib.ExitStack() as stack:
        box, router, provider = (stack.enter_context(namespaces.namespace(Namespace)) for _ in range(3))
        names = provider if own_names else far
        made = World(box, router, provider, far, folder / f"manners-{place.number}", names, place)
        made.behave()
        inside, core = place.core
        _join(box, router, ("eth0", f"{place.box}/24"), ("lan0", f"{place.gateway}/24"))
        _join(provider, far, ("core0", f"{inside}/30"), (f"eth{place.number}", f"{core}/30"))
        _lay_line(stack, made, line, folder)
        for side, device, address in ((box, "eth0", BOX6), (router, "lan0", GATEWAY6)):
            side.run("ip", "address", "add", f"{address}/64", "dev", device, "nodad")
        box.run("ip", "route", "add", "default", "via", place.gateway)
        router.run("ip", "route", "add", "default", "via", place.hop)
        provider.run("ip", "route", "add", "default", "via", core)
        provider.run("ip", "route", "add", place.network, "via", place.router_outside)
        for network in (place.network, place.line):
            far.run("ip", "route", "add", network, "via", inside)
        for side in (router, provider):
            side.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.icmp_ratelimit=0")
        box.run("sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647")
        stack.enter_context(_resolver_of(box))
        if own_names:
            provider.run("ip", "address", "add", f"{NAME_SERVER}/32", "dev", "lo")
            stack.enter_context(provider.service(serve(made.manners, "names"), "ready"))
        stack.enter_context(router.service(serve(made.manners, "portal"), "ready"))
        yield made


def _lay_line(stack: contextlib.ExitStack, made: World, line: Line | None, folder: Path) -> None:
    place = made.place
    if line is None:
        near, far = ("wan0", f"{place.router_outside}/30"), ("school0", f"{place.hop}/30")
        _join(made.router, made.provider, near, far)
        return
    log = folder / f"line-{place.number}.log"
    stack.enter_context(bed.emulator(line, (made.router, made.provider), log))
    ends = (
        (made.router, "wan0", place.router_outside, place.hop),
        (made.provider, "school0", place.hop, place.router_outside),
    )
    for side, device, here, there in ends:
        side.run("ip", "link", "set", bed.DEVICE, "name", device)
        side.run("ip", "address", "add", here, "peer", there, "dev", device)
        side.run("ip", "link", "set", device, "up")


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
