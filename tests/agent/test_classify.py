"""Foreign exceptions become failure codes."""

import asyncio
import errno
import socket
import ssl

import pytest

from linkbell_agent.classify import NetworkFailure, classify, network_failure
from linkbell_wire.failures import Failure, FailureCode, Operation

TABLE: list[tuple[BaseException, FailureCode]] = [
    (OSError(errno.ECONNREFUSED, ""), FailureCode.CONNECTION_REFUSED),
    (OSError(errno.ECONNRESET, ""), FailureCode.CONNECTION_RESET),
    (OSError(errno.EPIPE, ""), FailureCode.CONNECTION_RESET),
    (OSError(errno.ETIMEDOUT, ""), FailureCode.TIMEOUT),
    (OSError(errno.EHOSTUNREACH, ""), FailureCode.HOST_UNREACHABLE),
    (OSError(errno.ENETUNREACH, ""), FailureCode.NETWORK_UNREACHABLE),
    (OSError(errno.ENETDOWN, ""), FailureCode.NETWORK_UNREACHABLE),
    (OSError(errno.EACCES, ""), FailureCode.PERMISSION_DENIED),
    (OSError(errno.EPERM, ""), FailureCode.PERMISSION_DENIED),
    (OSError(errno.EADDRNOTAVAIL, ""), FailureCode.ADDRESS_UNAVAILABLE),
    (OSError(errno.EAFNOSUPPORT, ""), FailureCode.ADDRESS_UNAVAILABLE),
    (OSError(errno.ENODEV, ""), FailureCode.UPLINK_UNAVAILABLE),
    (OSError(errno.EMFILE, ""), FailureCode.TOO_MANY_FILES),
    (OSError(errno.ENOMEM, ""), FailureCode.OUT_OF_MEMORY),
    (OSError(errno.EMSGSIZE, ""), FailureCode.MESSAGE_TOO_LARGE),
    (OSError(errno.EIO, ""), FailureCode.UNKNOWN),
    (OSError("without a number"), FailureCode.UNKNOWN),
    (ConnectionRefusedError(), FailureCode.CONNECTION_REFUSED),
    (ConnectionResetError(), FailureCode.CONNECTION_RESET),
    (BrokenPipeError(), FailureCode.CONNECTION_RESET),
    (TimeoutError(), FailureCode.TIMEOUT),
    (MemoryError(), FailureCode.OUT_OF_MEMORY),
    (socket.gaierror(socket.EAI_NONAME, ""), FailureCode.DNS_NOT_FOUND),
    (socket.gaierror(socket.EAI_NODATA, ""), FailureCode.DNS_NO_ADDRESS),
    (socket.gaierror(socket.EAI_AGAIN, ""), FailureCode.DNS_TIMEOUT),
    (socket.gaierror(socket.EAI_FAIL, ""), FailureCode.DNS_SERVER_FAILURE),
    (socket.gaierror(socket.EAI_SYSTEM, ""), FailureCode.DNS_SERVER_FAILURE),
    (UnicodeError("label too long"), FailureCode.DNS_NOT_FOUND),
    (ssl.SSLCertVerificationError(1, "self-signed"), FailureCode.TLS_CERTIFICATE_INVALID),
    (ssl.SSLEOFError(8, "eof"), FailureCode.CONNECTION_CLOSED),
    (ssl.SSLZeroReturnError(6, "closed"), FailureCode.CONNECTION_CLOSED),
    (ssl.SSLError(1, "wrong version number"), FailureCode.TLS_FAILED),
    (asyncio.IncompleteReadError(b"", 10), FailureCode.CONNECTION_CLOSED),
    (NetworkFailure(Operation.CONNECT, FailureCode.BLOCKED_PAGE), FailureCode.BLOCKED_PAGE),
    (ValueError("nobody foresaw this"), FailureCode.UNKNOWN),
    (KeyboardInterrupt(), FailureCode.UNKNOWN),
]


@pytest.mark.parametrize(("error", "expected"), TABLE, ids=repr)
def test_an_exception_has_its_code(error: BaseException, expected: FailureCode) -> None:
    assert classify(error) is expected


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_number_of_the_system_has_a_code(number: int) -> None:
    assert classify(OSError(number, "")) in FailureCode
    assert classify(socket.gaierror(number, "")) in FailureCode


def test_a_failure_says_nothing_of_the_exception_it_came_from() -> None:
    failure = network_failure(Operation.CONNECT, OSError(errno.ECONNREFUSED, "192.0.2.1 refused", "/secret/path"))
    assert failure.failure == Failure(operation=Operation.CONNECT, code=FailureCode.CONNECTION_REFUSED)
    assert str(failure) == "connect: connection_refused"
