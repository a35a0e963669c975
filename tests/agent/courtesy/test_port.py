"""What is seen at a port is what went through it."""

from pathlib import Path

import pytest

from linkbell_agent.courtesy.port import PortLook
from linkbell_agent.courtesy.rule import Rates
from linkbell_agent.courtesy.skips import SKIPS_FILE, Skips
from linkbell_agent.watch.box import Box


class ToldPort:
    """A folder like Linux's, whose counters move while somebody sleeps."""

    def __init__(self, root: Path, kind: int = 1) -> None:
        self.root = root
        self.folder = root / "sys/class/net/eth0"
        (self.folder / "statistics").mkdir(parents=True)
        (self.folder / "type").write_text(f"{kind}\n")
        self.now_s = 0.0
        self.write(1000, 10, 2000, 20)

    def write(self, *counts: int) -> None:
        for name, count in zip(("rx_bytes", "rx_packets", "tx_bytes", "tx_packets"), counts, strict=True):
            (self.folder / "statistics" / name).write_text(f"{count}\n")

    def monotonic(self) -> float:
        return self.now_s

    def look(self, *after: int, device: str | None = "eth0") -> PortLook:
        async def sleep(seconds: float) -> None:
            self.now_s += seconds
            self.write(*after)

        return PortLook(lambda: device, self.monotonic, sleep, Box(self.root))


async def test_traffic_is_counted_each_way_without_frames(tmp_path: Path) -> None:
    port = ToldPort(tmp_path)
    # 100 packets of 1000 bytes of IP in, 50 of 100 out, in 2 s; Ethernet adds 14 to each.
    look = port.look(1000 + 100 * 1014, 110, 2000 + 50 * 114, 70)
    assert await look(2.0) == Rates(400_000.0, 20_000.0)


@pytest.mark.parametrize("after", [(0, 0, 0, 0), (900, 10, 2000, 20)])
async def test_a_counter_that_went_back_says_nothing(tmp_path: Path, after: tuple[int, ...]) -> None:
    assert await ToldPort(tmp_path).look(*after)(2.0) == Rates()


async def test_loopback_and_a_port_that_is_not_there_say_nothing(tmp_path: Path) -> None:
    assert await ToldPort(tmp_path / "a", kind=772).look(9000, 20, 9000, 30)(2.0) == Rates()
    assert await ToldPort(tmp_path / "b").look(9000, 20, 9000, 30, device="eth9")(2.0) == Rates()
    assert await ToldPort(tmp_path / "c").look(9000, 20, 9000, 30, device=None)(2.0) == Rates()


def test_skips_are_counted_by_name_and_kept(tmp_path: Path) -> None:
    skips = Skips(tmp_path)
    skips.set("main/speed", 2)
    skips.set("main/check", 1)
    again = Skips(tmp_path)
    assert [again.of(name) for name in ("main/speed", "main/check", "backup/speed")] == [2, 1, 0]
    again.set("main/speed", 0)
    assert Skips(tmp_path).of("main/speed") == 0


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"main/speed": null}', b"\xff", b"{"])
def test_a_damaged_count_of_skips_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SKIPS_FILE).write_bytes(content)
    skips = Skips(tmp_path)
    assert skips.of("main/speed") == 0
    skips.set("main/speed", 1)
    assert Skips(tmp_path).of("main/speed") == 1


def test_skips_count_without_a_disk(tmp_path: Path) -> None:
    skips = Skips(tmp_path / "nowhere")
    skips.set("main/speed", 1)
    assert skips.of("main/speed") == 1
