"""Whose traffic the box's port counts: the whole school's on its router, only its own on a box beside it.

Sources: proc_net(5) for the routes, the kernel's ip-sysctl for ``ip_forward``, sysfs-class-net for ``operstate``.
"""

import re
from collections.abc import Collection
from pathlib import Path

from linkbell_agent.kernel_files import text_of
from linkbell_agent.route import parse_routes
from linkbell_agent.slim import dataclass

_OWN = re.compile(r"lo|docker.*|br-[0-9a-f]{12}|veth.*|virbr.*|lxcbr.*|lxdbr.*|cni.*|flannel.*|podman.*|tap.*")
"""Devices to which a box forwards for its own guests: containers and virtual machines are no pupils."""

_UP = frozenset({"up", "unknown"})
_RTF_UP, _RTF_GATEWAY, _RTF_REJECT = 0x0001, 0x0002, 0x0200

ONLY_ITSELF = (
    "This box stands beside the router and sees only its own traffic: tests cannot wait for others who use the line."
)
EVERYBODY = "This box is the router: it sees the school's traffic, and tests wait while others use the line."


@dataclass(frozen=True, slots=True)
class Sight:
    """Whether the counters are only this box's own, and a sentence for the technician."""

    sees_only_itself: bool

    @property
    def sentence(self) -> str:
        """What that means."""
        return ONLY_ITSELF if self.sees_only_itself else EVERYBODY


def look_around(root: Path = Path("/"), outside: str | None = None, besides: Collection[str | None] = ()) -> Sight:
    """Say what the port ``outside`` (default: that of the default route) shows; ``besides`` lead out as well.

    A router forwards, and has a network behind another device than that one which is up and is not of its own guests.
    """
    routes = text_of(root / "proc/net/route")
    if outside is None:
        gateways = parse_routes(routes)
        outside = gateways[0].device if gateways else None
    forwards = text_of(root / "proc/sys/net/ipv4/ip_forward").strip() == "1"
    inside = [
        device for device in _networks(routes) if device not in (outside, *besides) and not _OWN.fullmatch(device)
    ]
    is_router = forwards and outside is not None and any(_is_up(root, device) for device in inside)
    return Sight(sees_only_itself=not is_router)


def _networks(routes: str) -> list[str]:
    """Return the devices that lead straight to a network of their own."""
    found = []
    for line in routes.splitlines()[1:]:
        words = line.split()
        try:
            flags = int(words[3], 16)
        except (ValueError, IndexError):
            continue
        if flags & _RTF_UP and not flags & (_RTF_GATEWAY | _RTF_REJECT):
            found.append(words[0])
    return list(dict.fromkeys(found))


def _is_up(root: Path, device: str) -> bool:
    return text_of(root / "sys/class/net" / device / "operstate").strip() in _UP
