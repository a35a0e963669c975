"""What Linux tells of the box, from files as it writes them and from this machine."""

import socket
import time
from pathlib import Path

import pytest

from linkbell_agent import netlink
from linkbell_agent.net import Address, Uplink
from linkbell_agent.watch.box import Box, parse_cores, parse_signal
from linkbell_agent.watch.limits import CoreTimes, Port, Radio
from linkbell_agent.watch.traffic import Counted

STAT = """cpu  300 0 100 600 0 0 0 0 0 0
cpu0 100 10 50 300 40 5 15 30 7 7
cpu1 0 0 0 500 0 0 0 0 0 0
cpu2 short
intr 1 2 3
"""
WIRELESS = """Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE
 face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22
 wlan0: 0000   54.  -56.  -256        0      0      0      0      0        0
 wlan1: 0000   54.   54.  -256        0      0      0      0      0        0
 wlan2: 0000   54.   ?
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {
        "sys/class/net/eth0/type": "1\n",
        "sys/class/net/eth0/speed": "100\n",
        "sys/class/net/eth0/statistics/rx_bytes": "1000\n",
        "sys/class/net/eth0/statistics/rx_packets": "10\n",
        "sys/class/net/eth0/statistics/tx_bytes": "500\n",
        "sys/class/net/eth0/statistics/tx_packets": "5\n",
        "sys/class/net/wlan0/type": "1\n",
        "sys/class/net/wlan0/speed": "-1\n",
        "sys/class/net/wlan0/wireless/x": "",
        "sys/class/net/wlan0/statistics/rx_bytes": "many\n",
        "sys/class/net/tun0/type": "65534\n",
        "sys/class/net/lo/type": "772\n",
        "proc/stat": STAT,
        "proc/net/wireless": WIRELESS,
        "proc/thread-self/schedstat": "1500000000 250000000 77\n",
    }
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("eth0", Port(link_bps=100e6, frame_bytes=14)),
        ("wlan0", Port(frame_bytes=14, radio=Radio(None, -56.0))),
        ("tun0", Port()),
        ("lo", Port(is_loopback=True)),
        ("not-there", Port()),
    ],
)
def test_a_port_is_what_sysfs_says(root: Path, device: str, expected: Port) -> None:
    assert Box(root).port(device) == expected


def test_counters_are_read_all_or_not_at_all(root: Path) -> None:
    assert Box(root).counted("eth0", lambda: 7.0) == Counted(7.0, 1000, 10, 500, 5)
    assert Box(root).counted("wlan0", lambda: 7.0) is None
    assert Box(root).counted("not-there", lambda: 7.0) is None


def test_processor_times_are_those_of_the_thread_that_measures(root: Path, tmp_path: Path) -> None:
    found = Box(root).cpu(lambda: 7.0)
    assert (found.at_s, found.ran_s, found.waited_s) == (7.0, 1.5, 0.25)
    assert found.cores == (CoreTimes(550, 210, 20), CoreTimes(500, 0, 0))
    assert found.process_s > 0
    nothing = Box(tmp_path / "empty").cpu(lambda: 7.0)
    assert (nothing.ran_s, nothing.waited_s, nothing.cores) == (None, None, ())


@pytest.mark.parametrize("text", ["", "cpu", "cpu0 a b c d e f g h", "cpu0 1 2 3"])
def test_a_stat_that_makes_no_sense_has_no_cores(text: str) -> None:
    assert parse_cores(text) == ()


@pytest.mark.parametrize(("device", "expected"), [("wlan0", -56.0), ("wlan1", None), ("wlan2", None), ("eth0", None)])
def test_a_signal_is_in_dbm_or_not_told(device: str, expected: float | None) -> None:
    assert parse_signal(WIRELESS, device) == expected


def test_this_machine_tells_of_itself() -> None:
    box = Box()
    before = box.cpu(time.monotonic)
    assert before.cores
    assert box.port("lo").is_loopback
    counted = box.counted("lo", time.monotonic)
    assert counted is not None
    # What is sent comes back, but for what others on this machine have under way at the moment.
    assert 0 <= counted.tx_bytes - counted.rx_bytes < 10_000_000


def test_the_way_to_an_address_is_the_kernels_own() -> None:
    here = Address(socket.AF_INET, "127.0.0.1")
    assert netlink.device_towards(here, Uplink()) == "lo"
    assert netlink.device_towards(here, Uplink(source="127.0.0.1")) == "lo"
    assert netlink.device_towards(here, Uplink(device="eth7")) == "eth7"
    assert netlink.device_towards(Address(socket.AF_INET6, "::1"), Uplink()) in ("lo", None)
    assert netlink.device_towards(Address(socket.AF_INET, "not an address"), Uplink()) is None
    assert netlink.device_towards(here, Uplink(source="203.0.113.1")) is None


@pytest.mark.parametrize("reply", [b"", b"\0" * 28, b"\xff" * 40, b"\x2c\0\0\0\x18\0" + b"\0" * 38])
def test_an_answer_that_makes_no_sense_is_no_device(reply: bytes) -> None:
    assert netlink.outgoing_index(reply) is None
