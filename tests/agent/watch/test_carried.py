"""What probes took of the line in a window: packet by packet, as they came to the receiver."""

import pytest

from linkbell_agent.watch.carried import carried_bytes
from linkbell_agent.watch.latency import Probe, Window
from linkbell_wire.words import Direction

DOWN, UP = Direction.DOWNLOAD, Direction.UPLOAD
SYN, PLAIN, REQUEST, ANSWER = 60, 52, 67, 175
ONE = [Probe(10.0, 0.4, 1.0, REQUEST, ANSWER)]
ALWAYS = Window(0.0, 100.0)


def test_all_of_a_probe_is_counted_as_the_wire_carries_it() -> None:
    assert carried_bytes(ONE, ALWAYS, UP, 20, 0.2) == SYN + PLAIN + (PLAIN + REQUEST) + PLAIN + PLAIN
    assert carried_bytes(ONE, ALWAYS, DOWN, 20, 0.2) == SYN + PLAIN + (PLAIN + ANSWER) + PLAIN


def test_an_ip_header_of_40_bytes_is_20_more_a_packet() -> None:
    more = carried_bytes(ONE, ALWAYS, UP, 40, 0.2) - carried_bytes(ONE, ALWAYS, UP, 20, 0.2)
    assert more == 5 * 20


@pytest.mark.parametrize(
    ("until_s", "size"),
    [(10.29, 0), (10.31, SYN), (11.29, SYN), (11.31, SYN + 2 * PLAIN + REQUEST), (12.31, SYN + 4 * PLAIN + REQUEST)],
)
def test_what_came_after_an_uploads_window_took_nothing_of_it(until_s: float, size: int) -> None:
    assert carried_bytes(ONE, Window(0.0, until_s), UP, 20, 0.2) == size


@pytest.mark.parametrize(
    ("from_s", "size"), [(10.39, SYN + 3 * PLAIN + ANSWER), (10.41, 3 * PLAIN + ANSWER), (11.41, 0)]
)
def test_what_came_before_a_downloads_window_took_nothing_of_it(from_s: float, size: int) -> None:
    assert carried_bytes(ONE, Window(from_s, 100.0), DOWN, 20, 0.2) == size


def test_a_probe_without_an_exchange_is_a_handshake_and_its_end() -> None:
    bare = [Probe(10.0, 0.4)]
    assert carried_bytes(bare, ALWAYS, UP, 20, 0.2) == SYN + PLAIN
    assert carried_bytes(bare, ALWAYS, DOWN, 20, 0.2) == SYN


def test_what_lost_probes_took_is_not_known() -> None:
    assert carried_bytes([Probe(10.0)], ALWAYS, UP, 20, 0.2) == 0
