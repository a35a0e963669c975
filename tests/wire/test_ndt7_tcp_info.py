"""``struct tcp_info`` read from a real connection, and from kernels that know less."""

import contextlib
import socket
import sys

import pytest

from linkbell_wire.ndt7 import tcp_info


def info_of(sock: socket.socket) -> tcp_info.TcpInfo:
    return tcp_info.parse(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, tcp_info.TCP_INFO_BYTES))


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return near, far


def test_both_ends_of_a_transfer_agree_on_the_bytes(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    with near, far:
        before = info_of(near).bytes_acked or 0
        near.sendall(b"x" * 50_000)
        received = 0
        while received < 50_000:
            received += len(far.recv(65_536))
        far.sendall(b"done")
        near.recv(4)
        sent, got = info_of(near), info_of(far)
    assert sent.bytes_acked is not None
    assert sent.bytes_acked - before == 50_000
    assert got.bytes_received == 50_000
    assert sent.bytes_sent is not None
    assert sent.bytes_sent >= 50_000
    assert sent.bytes_retransmitted == 0
    assert sent.unsent_bytes == 0
    assert sent.retransmit_ratio == 0.0


def test_round_trips_on_loopback_are_short_and_in_seconds(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    with near, far:
        near.sendall(b"x")
        far.recv(1)
        far.sendall(b"y")
        near.recv(1)
        info = info_of(near)
    assert 0 < info.rtt_s < 0.5
    assert info.min_rtt_s is not None
    assert 0 <= info.min_rtt_s <= info.rtt_s + 0.01
    assert info.busy_s is not None
    assert info.busy_s < 10


def fill(sock: socket.socket) -> int:
    handed = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            handed += sock.send(bytes(1 << 16))
    return handed


def test_what_the_peer_has_no_room_for_is_unsent(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    with near, far:
        near.setblocking(False)
        handed = fill(near)
        info = info_of(near)
    assert info.unsent_bytes is not None
    assert 0 < info.unsent_bytes < handed


def test_an_old_kernels_short_answer_leaves_the_rest_unknown() -> None:
    info = tcp_info.parse(bytes(104))
    assert info.rtt_s == 0
    assert info.bytes_acked is None
    assert info.min_rtt_s is None
    assert info.retransmit_ratio is None


def test_an_answer_too_short_to_be_one_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter than any supported"):
        tcp_info.parse(bytes(103))


def test_no_round_trip_yet_and_an_unlimited_pacing_rate_are_unknown_not_huge() -> None:
    raw = bytearray(232)
    raw[148:152] = b"\xff" * 4
    raw[104:112] = b"\xff" * 8
    info = tcp_info.parse(bytes(raw))
    assert info.min_rtt_s is None
    assert info.pacing_rate_bps is None


def test_more_sent_again_than_sent_is_still_a_ratio() -> None:
    raw = bytearray(232)
    raw[200:208] = (10).to_bytes(8, sys.byteorder)
    raw[208:216] = (20).to_bytes(8, sys.byteorder)
    assert tcp_info.parse(bytes(raw)).retransmit_ratio == 1.0


def test_the_room_is_the_window_less_what_is_under_way() -> None:
    raw = bytearray(tcp_info.ROOM_INFO_BYTES)
    for offset, count in ((24, 12), (28, 3), (32, 2), (36, 1), (80, 20)):  # unacked, sacked, lost, sent again, window
        raw[offset : offset + 4] = count.to_bytes(4, sys.byteorder)
    assert tcp_info.room_segments(bytes(raw)) == 20 - (12 - 3 - 2 + 1)


def test_a_new_connection_has_room_for_its_first_flight(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    with near, far:
        raw = near.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, tcp_info.ROOM_INFO_BYTES)
        assert tcp_info.room_segments(raw) == 10
