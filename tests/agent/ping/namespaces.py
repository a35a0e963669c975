"""A school in two network namespaces: a box and the router it hangs on. Made by root, removed whatever happens."""

import contextlib
import sys
from collections.abc import Iterator

from linkbell_wire.records import PingRecord
from tests.linkbed import namespaces
from tests.linkbed.namespaces import Namespace

ROUTER, ROUTER6 = "10.77.0.1", "fd77::1"
UNUSED = "10.77.0.99"

UNPRIVILEGED = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")
"""Root by name only, without a single capability: nobody might not be allowed to read this interpreter."""


def why_not() -> str | None:
    """Return why this machine cannot make this school, ``None`` if it can."""
    return namespaces.why_not("tc", "setpriv", "sysctl")


class Box(Namespace):
    """A namespace that pings."""

    def allow_datagram_icmp(self, allow: bool) -> None:
        self.run("sysctl", "-qw", f"net.ipv4.ping_group_range={'0 2147483647' if allow else '1 0'}")

    def ping(self, *arguments: str, privileged: bool = False) -> PingRecord:
        """Ping from inside, without a capability unless ``privileged``."""
        drop = () if privileged else UNPRIVILEGED
        printed = self.run(*drop, sys.executable, "-m", "tests.agent.ping.one_ping", *arguments)
        return PingRecord.model_validate_json(printed)


def namespace() -> contextlib.AbstractContextManager[Box]:
    """Return a box that is alone."""
    return namespaces.namespace(Box)


@contextlib.contextmanager
def box_and_router() -> Iterator[tuple[Box, Box]]:
    """A box whose default route leads to a router that forwards, and answers with ICMP errors as often as asked."""
    with namespace() as box, namespace() as router:
        box.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "lan0", "netns", router.name)
        for side, device, host in ((router, "lan0", 1), (box, "eth0", 2)):
            side.run("ip", "address", "add", f"10.77.0.{host}/24", "dev", device)
            side.run("ip", "address", "add", f"fd77::{host}/64", "dev", device, "nodad")
            side.run("ip", "link", "set", device, "up")
        box.run("ip", "route", "add", "default", "via", ROUTER)
        box.run("ip", "route", "add", "default", "via", ROUTER6)
        for setting in (
            "net.ipv4.ip_forward=1",
            "net.ipv6.conf.all.forwarding=1",
            "net.ipv4.icmp_ratelimit=0",
            "net.ipv6.icmp.ratelimit=0",
            "net.ipv4.conf.all.send_redirects=0",
            "net.ipv4.conf.lan0.send_redirects=0",
        ):
            router.run("sysctl", "-qw", setting)
        yield box, router
