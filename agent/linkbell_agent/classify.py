"""Foreign exceptions become failure codes here and nowhere else. What is not known is ``unknown``, never its text."""

import asyncio
import errno
import socket
import ssl

from linkbell_wire.failures import Failure, FailureCode, Operation

_ERRNO = {
    errno.ECONNREFUSED: FailureCode.CONNECTION_REFUSED,
    errno.ECONNRESET: FailureCode.CONNECTION_RESET,
    errno.EPIPE: FailureCode.CONNECTION_RESET,
    errno.ECONNABORTED: FailureCode.CONNECTION_RESET,
    errno.ESHUTDOWN: FailureCode.CONNECTION_CLOSED,
    errno.ENOTCONN: FailureCode.CONNECTION_CLOSED,
    errno.ETIMEDOUT: FailureCode.TIMEOUT,
    errno.EHOSTUNREACH: FailureCode.HOST_UNREACHABLE,
    errno.EHOSTDOWN: FailureCode.HOST_UNREACHABLE,
    errno.ENETUNREACH: FailureCode.NETWORK_UNREACHABLE,
    errno.ENETDOWN: FailureCode.NETWORK_UNREACHABLE,
    errno.EACCES: FailureCode.PERMISSION_DENIED,
    errno.EPERM: FailureCode.PERMISSION_DENIED,
    errno.EADDRNOTAVAIL: FailureCode.ADDRESS_UNAVAILABLE,
    errno.EAFNOSUPPORT: FailureCode.ADDRESS_UNAVAILABLE,
    errno.EADDRINUSE: FailureCode.ADDRESS_UNAVAILABLE,
    errno.ENODEV: FailureCode.UPLINK_UNAVAILABLE,
    errno.EMFILE: FailureCode.TOO_MANY_FILES,
    errno.ENFILE: FailureCode.TOO_MANY_FILES,
    errno.ENOMEM: FailureCode.OUT_OF_MEMORY,
    errno.ENOBUFS: FailureCode.OUT_OF_MEMORY,
    errno.EMSGSIZE: FailureCode.MESSAGE_TOO_LARGE,
}

_GAI = {
    socket.EAI_NONAME: FailureCode.DNS_NOT_FOUND,
    socket.EAI_AGAIN: FailureCode.DNS_TIMEOUT,
    socket.EAI_FAIL: FailureCode.DNS_SERVER_FAILURE,
    socket.EAI_NODATA: FailureCode.DNS_NO_ADDRESS,
    socket.EAI_FAMILY: FailureCode.DNS_NO_ADDRESS,
    socket.EAI_MEMORY: FailureCode.OUT_OF_MEMORY,
}


# x509_vfy.h: X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED, by the clock of this box.
_CERTIFICATE = {9: FailureCode.TLS_CERTIFICATE_NOT_YET_VALID, 10: FailureCode.TLS_CERTIFICATE_EXPIRED}


class NetworkFailure(Exception):  # noqa: N818 - a failure is data here, named as the wire names it
    """A measurement failed in a way that is a result. Carries the (operation, code) to be recorded."""

    def __init__(self, operation: Operation, code: FailureCode) -> None:
        super().__init__(f"{operation}: {code}")
        self.failure = Failure(operation=operation, code=code)


def classify(error: BaseException) -> FailureCode:
    """Return the code of any exception; :attr:`FailureCode.UNKNOWN` for those nobody foresaw."""
    if isinstance(error, NetworkFailure):
        return error.failure.code
    if isinstance(error, socket.gaierror):
        return _GAI.get(error.errno or 0, FailureCode.DNS_SERVER_FAILURE)
    if isinstance(error, UnicodeError):
        return FailureCode.DNS_NOT_FOUND  # a name that is no name: the idna codec refuses it before any query
    if isinstance(error, TimeoutError):
        return FailureCode.TIMEOUT
    if isinstance(error, ssl.SSLError | asyncio.IncompleteReadError):
        return _of_tls(error)
    if isinstance(error, MemoryError):
        return FailureCode.OUT_OF_MEMORY
    if isinstance(error, OSError):
        return _ERRNO.get(error.errno or 0, _by_type(error))
    return FailureCode.UNKNOWN


def _of_tls(error: ssl.SSLError | asyncio.IncompleteReadError) -> FailureCode:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE.get(getattr(error, "verify_code", 0), FailureCode.TLS_CERTIFICATE_INVALID)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | asyncio.IncompleteReadError):
        return FailureCode.CONNECTION_CLOSED
    return FailureCode.TLS_FAILED


def _by_type(error: OSError) -> FailureCode:
    """For an ``OSError`` raised by hand, without a number."""
    if isinstance(error, ConnectionRefusedError):
        return FailureCode.CONNECTION_REFUSED
    if isinstance(error, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
        return FailureCode.CONNECTION_RESET
    return FailureCode.UNKNOWN


def network_failure(operation: Operation, error: BaseException) -> NetworkFailure:
    """Return the failure to raise ``from error``."""
    return NetworkFailure(operation, classify(error))
