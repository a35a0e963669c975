"""What a reply means to a simulated agent (wire/PROTOCOL.md), and how long it waits. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from pydantic import ValidationError

from linkbell_wire import BatchReply
from linkbell_wire.errors import ErrorReply

FIRST_CEILING_S = 2.0
LONGEST_CEILING_S = 300.0
REFUSED_WAIT_S = 900.0
LONGEST_RETRY_AFTER_S = 3600.0


class Reply(NamedTuple):
    """An answer, or why there was none: then ``status`` is 0 and ``trouble`` a word."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    trouble: str = ""


class Step(Enum):
    """What to do next."""

    SETTLED = auto()
    HALVE = auto()
    WAIT = auto()
    BACK_OFF = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class Decision:
    """A step, a word for the counts, the wait that was asked for in seconds, and the reply that settled."""

    step: Step
    word: str
    wait_s: float = 0.0
    reply: BatchReply | None = None


def decide(reply: Reply, records: int) -> Decision:
    """Say what a reply to a batch means. Nothing is settled but by a reply that adds up."""
    if reply.status == 0:
        return Decision(Step.BACK_OFF, reply.trouble or "no_answer")
    if reply.status == 200:
        return _on_success(reply.body, records)
    word = _code(reply)
    if reply.status in (401, 403):
        return Decision(Step.REFUSED, word, REFUSED_WAIT_S)
    if reply.status == 413:
        return Decision(Step.HALVE, word)
    if reply.status in (429, 503):
        return Decision(Step.WAIT, word, _retry_after_s(reply.headers))
    return Decision(Step.BACK_OFF, word)


def ceiling_s(failures: int) -> float:
    """Return the longest wait after so many failures in a row; the wait is drawn evenly below it (full jitter)."""
    return min(LONGEST_CEILING_S, FIRST_CEILING_S * 2.0 ** min(failures, 32))


def _on_success(body: bytes, records: int) -> Decision:
    try:
        reply = BatchReply.model_validate_json(body)
    except ValidationError:
        return Decision(Step.BACK_OFF, "not_a_collector")
    if reply.stored + reply.duplicate + len(reply.rejected) != records:
        return Decision(Step.BACK_OFF, "does_not_add_up")
    return Decision(Step.SETTLED, "settled", reply=reply)


def _code(reply: Reply) -> str:
    try:
        return str(ErrorReply.model_validate_json(reply.body).code)
    except ValidationError:
        return f"http_{reply.status}"


def _retry_after_s(headers: Mapping[str, str]) -> float:
    try:
        return min(LONGEST_RETRY_AFTER_S, max(0.0, float(headers.get("Retry-After", "0"))))
    except ValueError:
        return 0.0
