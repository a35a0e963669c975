"""The closed list of ways in which a measurement fails.

A failure is (operation, code): what was being tried, and how it went wrong. The text of an exception is never
sent: it names addresses and paths, differs between Python versions, and cannot be counted.
"""

from enum import StrEnum

from linkbell_wire.fields import WireModel


class Operation(StrEnum):
    """What was being tried."""

    BIND = "bind"
    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS_HANDSHAKE = "tls_handshake"
    HTTP_REQUEST = "http_request"
    UPGRADE = "upgrade"
    SEND = "send"
    RECEIVE = "receive"
    RUN = "run"


class FailureCode(StrEnum):
    """How it went wrong. Meanings are in ``docs/failures.md``; a test holds the two lists together."""

    TIMEOUT = "timeout"
    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_RESET = "connection_reset"
    CONNECTION_CLOSED = "connection_closed"
    HOST_UNREACHABLE = "host_unreachable"
    NETWORK_UNREACHABLE = "network_unreachable"
    PROHIBITED = "prohibited"
    TTL_EXCEEDED = "ttl_exceeded"
    ADDRESS_UNAVAILABLE = "address_unavailable"
    UPLINK_UNAVAILABLE = "uplink_unavailable"
    PERMISSION_DENIED = "permission_denied"
    DNS_NOT_FOUND = "dns_not_found"
    DNS_NO_ADDRESS = "dns_no_address"
    DNS_TIMEOUT = "dns_timeout"
    DNS_SERVER_FAILURE = "dns_server_failure"
    DNS_REFUSED = "dns_refused"
    DNS_FALSE_ANSWER = "dns_false_answer"
    TLS_CERTIFICATE_INVALID = "tls_certificate_invalid"
    TLS_CERTIFICATE_NOT_YET_VALID = "tls_certificate_not_yet_valid"
    TLS_CERTIFICATE_EXPIRED = "tls_certificate_expired"
    TLS_FAILED = "tls_failed"
    HTTP_STATUS = "http_status"
    REDIRECTED = "redirected"
    CAPTIVE_PORTAL = "captive_portal"
    BLOCKED_PAGE = "blocked_page"
    PROTOCOL_ERROR = "protocol_error"
    MESSAGE_TOO_LARGE = "message_too_large"
    NO_DATA = "no_data"
    INCONCLUSIVE = "inconclusive"
    FLOOR_OUT_OF_RANGE = "floor_out_of_range"
    SERVER_BUSY = "server_busy"
    NO_SERVER = "no_server"
    ENGINE_MISSING = "engine_missing"
    ENGINE_FAILED = "engine_failed"
    OUT_OF_MEMORY = "out_of_memory"
    TOO_MANY_FILES = "too_many_files"
    INTERRUPTED = "interrupted"
    UNKNOWN = "unknown"


class Failure(WireModel):
    """One failure as data."""

    operation: Operation
    code: FailureCode
