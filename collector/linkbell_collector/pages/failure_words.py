"""Failures in words that somebody on the telephone can read out."""

from linkbell_wire import Failure, FailureCode, Operation

WORDS = {
    FailureCode.TIMEOUT: "no answer in time",
    FailureCode.CONNECTION_REFUSED: "connection refused",
    FailureCode.CONNECTION_RESET: "connection broken off",
    FailureCode.CONNECTION_CLOSED: "connection closed early",
    FailureCode.HOST_UNREACHABLE: "host unreachable",
    FailureCode.NETWORK_UNREACHABLE: "no route to the network",
    FailureCode.PROHIBITED: "blocked on the way",
    FailureCode.TTL_EXCEEDED: "packets go round in circles",
    FailureCode.ADDRESS_UNAVAILABLE: "local address is gone",
    FailureCode.UPLINK_UNAVAILABLE: "uplink is not there",
    FailureCode.PERMISSION_DENIED: "agent lacks permission",
    FailureCode.DNS_NOT_FOUND: "name does not exist",
    FailureCode.DNS_NO_ADDRESS: "name has no address",
    FailureCode.DNS_TIMEOUT: "name server does not answer",
    FailureCode.DNS_SERVER_FAILURE: "name server failed",
    FailureCode.DNS_REFUSED: "name server refused",
    FailureCode.DNS_FALSE_ANSWER: "name server gives a false answer",
    FailureCode.TLS_CERTIFICATE_INVALID: "certificate is not valid",
    FailureCode.TLS_CERTIFICATE_NOT_YET_VALID: "certificate is not valid yet: the box's clock is behind",
    FailureCode.TLS_CERTIFICATE_EXPIRED: "certificate has run out, or the box's clock is ahead",
    FailureCode.TLS_FAILED: "encryption failed",
    FailureCode.HTTP_STATUS: "server answered with an error",
    FailureCode.REDIRECTED: "redirected elsewhere",
    FailureCode.CAPTIVE_PORTAL: "a log-in page is in the way",
    FailureCode.BLOCKED_PAGE: "page is blocked",
    FailureCode.PROTOCOL_ERROR: "answer made no sense",
    FailureCode.MESSAGE_TOO_LARGE: "packet too large for the line",
    FailureCode.NO_DATA: "connected, but no data came",
    FailureCode.INCONCLUSIVE: "could not tell",
    FailureCode.FLOOR_OUT_OF_RANGE: "floor cannot be checked",
    FailureCode.SERVER_BUSY: "measurement server was busy",
    FailureCode.NO_SERVER: "no measurement server known",
    FailureCode.ENGINE_MISSING: "test program is missing",
    FailureCode.ENGINE_FAILED: "test program failed",
    FailureCode.OUT_OF_MEMORY: "box ran out of memory",
    FailureCode.TOO_MANY_FILES: "box ran out of open files",
    FailureCode.INTERRUPTED: "interrupted",
    FailureCode.UNKNOWN: "unknown trouble",
}

STAGES = {
    Operation.BIND: "opening the socket",
    Operation.RESOLVE: "looking up the name",
    Operation.CONNECT: "connecting",
    Operation.TLS_HANDSHAKE: "securing the connection",
    Operation.HTTP_REQUEST: "asking",
    Operation.UPGRADE: "starting the test",
    Operation.SEND: "sending",
    Operation.RECEIVE: "receiving",
    Operation.RUN: "running the test",
}


def in_words(failure: Failure, *, stage: bool = True) -> str:
    """Return ``what went wrong (at which stage)``."""
    return f"{WORDS[failure.code]} ({STAGES[failure.operation]})" if stage else WORDS[failure.code]
