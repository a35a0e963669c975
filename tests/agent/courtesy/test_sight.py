"""Whether a box sees the school's traffic or only its own."""

import socket
import struct
from pathlib import Path

import pytest

from linkbell_agent.courtesy.sight import EVERYBODY, ONLY_ITSELF, look_around

HEADER = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"


def route(device: str, network: str, gateway: str = "0.0.0.0", mask: str = "255.255.255.0") -> str:
    def number(address: str) -> str:
        return f"{struct.unpack('=I', socket.inet_aton(address))[0]:08X}"

    flags = 1 if gateway == "0.0.0.0" else 3
    return f"{device}\t{number(network)}\t{number(gateway)}\t{flags:04X}\t0\t0\t0\t{number(mask)}\t0\t0\t0\n"


WAN = route("eth0", "0.0.0.0", "198.51.100.1", "0.0.0.0") + route("eth0", "198.51.100.0")
LAN = route("br-lan", "192.168.1.0")


def box(root: Path, routes: str, states: dict[str, str], forward: str | None = "1") -> Path:
    (root / "proc/net").mkdir(parents=True)
    (root / "proc/net/route").write_text(HEADER + routes)
    if forward is not None:
        (root / "proc/sys/net/ipv4").mkdir(parents=True)
        (root / "proc/sys/net/ipv4/ip_forward").write_text(forward + "\n")
    for device, state in states.items():
        (root / "sys/class/net" / device).mkdir(parents=True)
        (root / "sys/class/net" / device / "operstate").write_text(state + "\n")
    return root


@pytest.mark.parametrize(
    ("routes", "states", "forward", "is_router"),
    [
        (WAN + LAN, {"eth0": "up", "br-lan": "up"}, "1", True),
        (WAN + LAN, {"eth0": "up", "br-lan": "unknown"}, "1", True),
        (WAN + LAN, {"eth0": "up", "br-lan": "up"}, "0", False),
        (WAN + LAN, {"eth0": "up", "br-lan": "down"}, "1", False),
        (WAN + LAN, {"eth0": "up", "br-lan": "up"}, None, False),
        (WAN, {"eth0": "up"}, "1", False),
        (WAN + route("docker0", "172.17.0.0"), {"eth0": "up", "docker0": "up"}, "1", False),
        (WAN + route("br-0123456789ab", "172.18.0.0"), {"eth0": "up", "br-0123456789ab": "up"}, "1", False),
        (WAN + route("br-01", "10.0.0.0"), {"eth0": "up", "br-01": "up"}, "1", True),
        (LAN, {"br-lan": "up"}, "1", False),
        ("nonsense\nand more nonsense of it\n", {}, "1", False),
        (WAN + LAN, {}, "1", False),
    ],
)
def test_a_router_forwards_from_a_network_behind_it(
    tmp_path: Path, routes: str, states: dict[str, str], forward: str | None, is_router: bool
) -> None:
    sight = look_around(box(tmp_path, routes, states, forward))
    assert sight.sees_only_itself is not is_router
    assert sight.sentence == (EVERYBODY if is_router else ONLY_ITSELF)


def test_the_uplink_can_be_another_than_the_default_route(tmp_path: Path) -> None:
    root = box(tmp_path, WAN + route("wwan0", "10.64.0.0"), {"eth0": "down", "wwan0": "up"})
    assert look_around(root, "wwan0").sees_only_itself


def test_a_box_that_tells_nothing_sees_only_itself(tmp_path: Path) -> None:
    assert look_around(tmp_path).sees_only_itself
    assert isinstance(look_around().sees_only_itself, bool)
