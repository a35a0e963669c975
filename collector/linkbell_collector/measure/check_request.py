"""May this request become a floor check? Decided from its headers and query alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from linkbell_collector.measure.handshake import Accepted, Refused, refused, shake, test_name
from linkbell_wire import floor
from linkbell_wire.ndt7 import STREAMS_HEADER

_EXAMPLE = "Say which floor, in bits per second, as in ?floor=8000000"


@dataclass(frozen=True, slots=True)
class AcceptedCheck(Accepted):
    """What the 101 must answer, and the floor the line is to be held to. Pace and budget follow from it."""

    floor_bps: float = 0.0


def consider_check(headers: Mapping[str, str], query: str, most_bps: float) -> AcceptedCheck | Refused:
    """Decide on one request. ``most_bps`` is what this server may send in all checks together."""
    verdict = shake(headers, query, floor.SUBPROTOCOL)
    if isinstance(verdict, Refused):
        return verdict
    parameters = parse_qsl(query, keep_blank_values=True)
    given = [value for name, value in parameters if name == "floor"]
    if len(given) != 1:
        return refused(f"{_EXAMPLE}.")
    # Ten digits are more than enough; a longer number is nobody's floor.
    if not (given[0].isascii() and given[0].isdecimal() and len(given[0]) <= 10):
        return refused(f"The floor must be a whole number. {_EXAMPLE}.")
    floor_bps = float(given[0])
    if not floor.can_be_checked(floor_bps):
        least, most = floor.MIN_FLOOR_BPS, floor.MAX_FLOOR_BPS
        return refused(f"A floor from {least:.0f} to {most:.0f} bits per second can be checked.")
    if floor.pace_bps(floor_bps) > most_bps:
        return refused(
            f"This server checks floors up to {most_bps / floor.PACE_RATIO:.0f} bits per second (--max-check-rate)."
        )
    test = test_name(parameters)
    if isinstance(test, Refused):
        return test
    streams = {} if test is None else {STREAMS_HEADER: str(floor.MAX_STREAMS)}
    return AcceptedCheck({**verdict.headers, **streams}, test=test, floor_bps=floor_bps)
