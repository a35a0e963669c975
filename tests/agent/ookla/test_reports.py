"""What the test process says becomes a finding; anything else is refused. And its reading of the kernel is right."""

import errno
import json
import socket
import threading
from typing import Any

import pytest

from linkbell_agent.ookla.reports import Finding, Trouble
from linkbell_agent.ookla.sockets import Dialler, Fault, Ledger, trouble_of
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.ndt7 import tcp_info
from linkbell_wire.words import Direction

MOVED = {"setup": 900, "download": 0, "upload": 0}


def line(phase: str = "setup", operation: str = "connect", **news: Any) -> bytes:
    return json.dumps({"phase": phase, "operation": operation, "moved": MOVED} | news).encode()


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        ({"kind": "system", "number": errno.ECONNRESET}, FailureCode.CONNECTION_RESET),
        ({"kind": "system", "number": errno.ENODEV}, FailureCode.UPLINK_UNAVAILABLE),
        ({"kind": "system", "number": None}, FailureCode.UNKNOWN),
        ({"kind": "resolve", "number": socket.EAI_NONAME}, FailureCode.DNS_NOT_FOUND),
        ({"kind": "resolve", "number": socket.EAI_AGAIN}, FailureCode.DNS_TIMEOUT),
        ({"kind": "http", "number": 403}, FailureCode.HTTP_STATUS),
        ({"kind": "http", "number": 503}, FailureCode.SERVER_BUSY),
        ({"kind": "http", "number": 302}, FailureCode.REDIRECTED),
        ({"kind": "memory"}, FailureCode.OUT_OF_MEMORY),
        ({"kind": "missing"}, FailureCode.ENGINE_MISSING),
        ({"kind": "no_server"}, FailureCode.NO_SERVER),
        ({"kind": "something new"}, FailureCode.ENGINE_FAILED),
    ],
)
def test_every_trouble_has_a_code_from_the_list(trouble: dict[str, Any], code: FailureCode) -> None:
    assert Trouble(operation=Operation.CONNECT, **trouble).failure() == Failure(operation=Operation.CONNECT, code=code)


def test_a_direction_without_a_failure_of_its_own_has_the_one_that_kept_it_from_being_tried() -> None:
    finding = Finding()
    finding.take(line("download", failure={"operation": "receive", "kind": "closed"}))
    finding.take(line("upload", end=True))
    closed = Failure(operation=Operation.RECEIVE, code=FailureCode.CONNECTION_CLOSED)
    assert finding.failure_of(Direction.DOWNLOAD) == finding.failure_of(Direction.UPLOAD) == closed
    assert finding.ended


@pytest.mark.parametrize(
    ("phase", "operation", "failure"),
    [
        ("setup", "resolve", Failure(operation=Operation.RESOLVE, code=FailureCode.DNS_TIMEOUT)),
        ("setup", "connect", Failure(operation=Operation.CONNECT, code=FailureCode.TIMEOUT)),
        ("download", "http_request", Failure(operation=Operation.RECEIVE, code=FailureCode.TIMEOUT)),
        ("upload", "http_request", Failure(operation=Operation.SEND, code=FailureCode.TIMEOUT)),
    ],
)
def test_a_test_that_was_ended_says_what_it_was_at(phase: str, operation: str, failure: Failure) -> None:
    finding = Finding()
    finding.take(line(phase, operation))
    finding.timed_out()
    assert list(finding.failures.values()) == [failure]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"Testing download speed...",
        b"[]",
        line("lunch"),
        line(unknown=1),
        line(moved={"setup": -1}),
        line(result={"direction": "download", "bps": float("inf"), "duration_s": 1, "streams": 8, "stop": "time"}),
    ],
)
def test_what_is_no_report_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="something else"):
        Finding().take(raw)


def test_what_the_process_reads_of_the_kernel_is_what_the_wire_reads() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ledger = Ledger(None)
        dialler = Dialler(ledger, None, None)
        mine = dialler.plain(dialler.open(*listening.getsockname()))
        other, _ = listening.accept()
        with other:
            mine.sendall(b"x" * 5000)
            other.sendall(b"y" * 3000)
            _exactly(other, 5000)
            _exactly(mine, 3000)
            raw = mine.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, tcp_info.TCP_INFO_BYTES)
            info = tcp_info.parse(raw)
            moved = ledger.moved()["setup"]
            assert info.bytes_received == 3000
            assert moved == pytest.approx(8000, abs=2)  # the kernel counts the SYN as a byte acknowledged
            mine.close()
            assert ledger.moved()["setup"] == moved


def test_a_connection_that_lingers_counts_for_the_phase_it_was_opened_in() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ledger = Ledger(None)
        dialler = Dialler(ledger, None, None)
        ledger.begin("download")
        mine = dialler.plain(dialler.open(*listening.getsockname()))
        other, _ = listening.accept()
        with other:
            other.sendall(b"y" * 3000)
            _exactly(mine, 3000)
            ledger.begin("upload")
            other.sendall(b"y" * 2000)
            _exactly(mine, 2000)
            open_moved = ledger.moved()
            mine.close()
    for moved in (open_moved, ledger.moved()):
        assert moved["download"] == pytest.approx(5000, abs=2)  # the SYN
        assert moved["upload"] == 0


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += sock.recv(count - len(data))
    return data


def test_what_waits_to_be_sent_is_thrown_away_and_not_counted_as_carried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ledger = Ledger(None)
        dialler = Dialler(ledger, None, None)
        mine = dialler.plain(dialler.open(*listening.getsockname()))
        other, _ = listening.accept()
        with other:
            mine.settimeout(0.3)
            sent = _fill(mine)
            ledger.cut(mine)
            mine.close()
            assert 0 < ledger.undelivered_bytes < sent
            assert ledger.moved()["setup"] <= sent - ledger.undelivered_bytes + (1 << 16)
            with pytest.raises(ConnectionResetError):
                _exactly(other, sent)


def _fill(sock: socket.socket) -> int:
    sent = 0
    try:
        while True:
            sent += sock.send(bytes(1 << 14))
    except TimeoutError:
        return sent


def test_the_cap_is_one_for_all_threads() -> None:
    ledger = Ledger(1_000_000)
    ledger.begin("upload")
    granted: list[int] = []

    def take() -> None:
        while got := ledger.reserve(7000):
            granted.append(got)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 1_000_000
    assert ledger.is_spent()


def test_the_text_of_an_error_is_never_told() -> None:
    told = trouble_of(Fault("connect", ConnectionRefusedError(errno.ECONNREFUSED, "10.1.2.3 refused")), "run")
    assert told == {"operation": "connect", "kind": "system", "number": errno.ECONNREFUSED}
