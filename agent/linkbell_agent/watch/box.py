"""What Linux says of this box and its network port: counters, link speed, radio, processor. Reads, changes nothing.

Sources: proc(5) for ``stat`` and ``schedstat``, sysfs-class-net, Linux's wireless.h for ``/proc/net/wireless`` and
SIOCGIWRATE. Whatever a kernel does not tell is ``None``.
"""

import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

from linkbell_agent.kernel_files import text_of
from linkbell_agent.slim import dataclass
from linkbell_agent.watch.limits import CoreTimes, CpuTimes, Port, Radio
from linkbell_agent.watch.traffic import Counted

_SIOCGIWRATE = 0x8B21  # include/uapi/linux/wireless.h
_IFNAMSIZ = 16
_LOOPBACK_TYPE = 772  # include/uapi/linux/if_arp.h
_ETHERNET_TYPE = 1
_ETHERNET_BYTES = 14


@dataclass(frozen=True, slots=True)
class Box:
    """This box; tests put a folder in the place of ``/``."""

    root: Path = Path("/")

    def counted(self, device: str, monotonic: Callable[[], float]) -> Counted | None:
        """Return the counters of ``device`` now."""
        folder = self._device(device) / "statistics"
        names = ("rx_bytes", "rx_packets", "tx_bytes", "tx_packets")
        counts = [_number(folder / name) for name in names]
        if any(count is None for count in counts):
            return None
        rx_bytes, rx_packets, tx_bytes, tx_packets = (count or 0 for count in counts)
        return Counted(monotonic(), rx_bytes, rx_packets, tx_bytes, tx_packets)

    def port(self, device: str) -> Port:
        """Return what is known of ``device`` as such."""
        folder = self._device(device)
        kind, speed_mbit = _number(folder / "type"), _number(folder / "speed")
        is_radio = (folder / "wireless").exists() or (folder / "phy80211").exists()
        return Port(
            is_loopback=kind == _LOOPBACK_TYPE,
            link_bps=speed_mbit * 1e6 if speed_mbit is not None and speed_mbit > 0 else None,
            frame_bytes=_ETHERNET_BYTES if kind == _ETHERNET_TYPE else 0,
            radio=Radio(_radio_rate_bps(device), self._signal_dbm(device)) if is_radio else None,
        )

    def cpu(self, monotonic: Callable[[], float]) -> CpuTimes:
        """Return processor times so far: of each core, and of the thread that calls."""
        ran_s, waited_s = self._thread_times()
        return CpuTimes(monotonic(), time.process_time(), ran_s, waited_s, parse_cores(self._text("proc/stat")))

    def _thread_times(self) -> tuple[float | None, float | None]:
        words = self._text("proc/thread-self/schedstat").split()
        if len(words) < 2 or not (words[0].isdigit() and words[1].isdigit()) or words[0] == "0":
            return None, None
        return int(words[0]) / 1e9, int(words[1]) / 1e9

    def _signal_dbm(self, device: str) -> float | None:
        return parse_signal(self._text("proc/net/wireless"), device)

    def _device(self, device: str) -> Path:
        return self.root / "sys/class/net" / device

    def _text(self, path: str) -> str:
        return text_of(self.root / path)


def parse_cores(stat: str) -> tuple[CoreTimes, ...]:
    """Read the cores' lines of ``/proc/stat``; numbers are ticks."""
    cores = []
    for line in stat.splitlines():
        name, *words = line.split() or [""]
        if not name.startswith("cpu") or name == "cpu" or len(words) < 8 or not all(word.isdigit() for word in words):
            continue
        user, nice, system, idle, io_wait, hard, soft, stolen = (int(word) for word in words[:8])
        total = user + nice + system + idle + io_wait + hard + soft + stolen
        cores.append(CoreTimes(total, total - idle - io_wait, hard + soft))
    return tuple(cores)


def parse_signal(wireless: str, device: str) -> float | None:
    """Read the signal level of ``device`` in dBm from ``/proc/net/wireless``, ``None`` if it is in no such unit."""
    for line in wireless.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if name.strip() == device and len(words) >= 3:
            try:
                level = float(words[2])
            except ValueError:
                return None
            return level if -120 <= level < 0 else None
    return None


def _radio_rate_bps(device: str) -> float | None:
    request = struct.pack(f"{_IFNAMSIZ}sii", device.encode()[: _IFNAMSIZ - 1], 0, 0)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            answer = fcntl.ioctl(sock.fileno(), _SIOCGIWRATE, request)
    except OSError:
        return None
    rate = struct.unpack_from("i", answer, _IFNAMSIZ)[0]
    return float(rate) if rate > 0 else None


def _number(path: Path) -> int | None:
    """Read a number, without the buffers of a file object: counters are read many times a second."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return int(os.read(descriptor, 32))
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)
