"""What came of a test: whether it brought something, and if not, whether it is worth trying again in its slot."""

from linkbell_wire.failures import Failure, FailureCode
from linkbell_wire.records import CheckRecord, Record, SpeedRecord

TRIED_AGAIN = frozenset(
    {
        FailureCode.TIMEOUT,
        FailureCode.CONNECTION_REFUSED,
        FailureCode.CONNECTION_RESET,
        FailureCode.CONNECTION_CLOSED,
        FailureCode.HOST_UNREACHABLE,
        FailureCode.NETWORK_UNREACHABLE,
        FailureCode.TTL_EXCEEDED,
        FailureCode.ADDRESS_UNAVAILABLE,
        FailureCode.UPLINK_UNAVAILABLE,
        FailureCode.DNS_TIMEOUT,
        FailureCode.DNS_SERVER_FAILURE,
        FailureCode.HTTP_STATUS,
        FailureCode.NO_DATA,
        FailureCode.SERVER_BUSY,
        FailureCode.ENGINE_FAILED,
        FailureCode.OUT_OF_MEMORY,
        FailureCode.TOO_MANY_FILES,
        FailureCode.INTERRUPTED,
        FailureCode.UNKNOWN,
    }
)
"""What a few minutes may mend: a line or a server that is down, full, or not up yet."""

FINAL = frozenset(
    {
        FailureCode.PROHIBITED,
        FailureCode.PERMISSION_DENIED,
        FailureCode.DNS_NOT_FOUND,
        FailureCode.DNS_NO_ADDRESS,
        FailureCode.DNS_REFUSED,
        FailureCode.DNS_FALSE_ANSWER,
        FailureCode.TLS_CERTIFICATE_INVALID,
        FailureCode.TLS_CERTIFICATE_NOT_YET_VALID,
        FailureCode.TLS_CERTIFICATE_EXPIRED,
        FailureCode.TLS_FAILED,
        FailureCode.REDIRECTED,
        FailureCode.CAPTIVE_PORTAL,
        FailureCode.BLOCKED_PAGE,
        FailureCode.PROTOCOL_ERROR,
        FailureCode.MESSAGE_TOO_LARGE,
        FailureCode.INCONCLUSIVE,
        FailureCode.FLOOR_OUT_OF_RANGE,
        FailureCode.NO_SERVER,
        FailureCode.ENGINE_MISSING,
    }
)
"""What somebody has to mend: a login page, a filter, a wrong name. ``inconclusive`` cost its bytes, and would again."""


def failure_of(record: Record) -> Failure | None:
    """Return why a test brought nothing at all, None if it brought something or was not made.

    A speed test with one direction measured is a result: another would cost all of its bytes again.
    """
    if isinstance(record, CheckRecord):
        return record.failure
    if not isinstance(record, SpeedRecord):
        return None
    results = [result for result in (record.download, record.upload) if result is not None]
    if record.failure is not None or any(result.bps is not None for result in results):
        return record.failure
    failures = [result.failure for result in results if result.failure is not None]
    # If either of them may mend, the test may.
    return next((one for one in failures if one.code in TRIED_AGAIN), failures[0] if failures else None)
