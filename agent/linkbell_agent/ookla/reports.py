"""What the test process says, line by line, and what it comes to. Pure: lines in, a finding out."""

import socket
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from linkbell_agent.classify import classify
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.words import Direction, Stop

MAX_LINE_BYTES = 1 << 14

Phase = Literal["setup", "download", "upload"]
_Bytes = Annotated[int, Field(ge=0, le=2**60)]
_Seconds = Annotated[float, Field(ge=0, le=3600)]

_CODES = {
    "timeout": FailureCode.TIMEOUT,
    "name": FailureCode.DNS_NOT_FOUND,
    "certificate": FailureCode.TLS_CERTIFICATE_INVALID,
    "tls": FailureCode.TLS_FAILED,
    "closed": FailureCode.CONNECTION_CLOSED,
    "garbage": FailureCode.PROTOCOL_ERROR,
    "no_data": FailureCode.NO_DATA,
    "no_server": FailureCode.NO_SERVER,
    "memory": FailureCode.OUT_OF_MEMORY,
    "missing": FailureCode.ENGINE_MISSING,
}


class _Words(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class Trouble(_Words):
    """What went wrong, as the test process says it."""

    operation: Operation
    kind: str
    number: int | None = None
    retry_after_s: float | None = None

    def failure(self) -> Failure:
        """Return it in the words of the wire."""
        return Failure(operation=self.operation, code=self._code())

    def _code(self) -> FailureCode:
        if self.kind == "system":
            return classify(OSError(self.number or 0, ""))
        if self.kind == "resolve":
            return classify(socket.gaierror(self.number or 0, ""))
        if self.kind == "http":
            return _http_code(self.number or 0)
        return _CODES.get(self.kind, FailureCode.ENGINE_FAILED)


def _http_code(status: int) -> FailureCode:
    if status == 503:
        return FailureCode.SERVER_BUSY
    return FailureCode.REDIRECTED if 300 <= status < 400 else FailureCode.HTTP_STATUS


class Numbers(_Words):
    """One direction that has a result."""

    direction: Direction
    bps: Annotated[float, Field(gt=0, le=1e13)]
    duration_s: _Seconds
    streams: Annotated[int, Field(ge=1, le=64)]
    stop: Stop


class Line(_Words):
    """One report."""

    phase: Phase
    operation: Operation
    moved: dict[Phase, _Bytes]
    server: Annotated[str, Field(max_length=2048)] | None = None
    rtt_idle_s: _Seconds | None = None
    result: Numbers | None = None
    failure: Trouble | None = None
    end: bool = False


@dataclass
class Finding:
    """What is known of a test, however far it came."""

    phase: Phase = "setup"
    operation: Operation = Operation.RUN
    moved: dict[Phase, int] = field(default_factory=dict)
    server: str | None = None
    rtt_idle_s: float | None = None
    results: dict[Direction, Numbers] = field(default_factory=dict)
    failures: dict[Phase, Failure] = field(default_factory=dict)
    ended: bool = False

    def take(self, raw: bytes) -> None:
        """Take one line in. Raises :class:`ValueError` if it is no report."""
        try:
            line = Line.model_validate_json(raw)
        except ValidationError as error:
            raise ValueError("the test process said something else than a report") from error
        self.phase, self.operation, self.moved = line.phase, line.operation, dict(line.moved)
        self.server = line.server or self.server
        self.rtt_idle_s = line.rtt_idle_s if self.rtt_idle_s is None else self.rtt_idle_s
        if line.result is not None:
            self.results[line.result.direction] = line.result
        if line.failure is not None:
            self.failures[line.phase] = line.failure.failure()
        self.ended = line.end

    def fail(self, failure: Failure) -> None:
        """The test was ended from outside, or broke: what has no result yet has this failure."""
        self.failures.setdefault(self.phase, failure)

    def timed_out(self) -> None:
        """The test was ended because nothing happened, or nothing came to an end, for too long."""
        operation = {"download": Operation.RECEIVE, "upload": Operation.SEND}.get(self.phase, self.operation)
        code = FailureCode.DNS_TIMEOUT if operation is Operation.RESOLVE else FailureCode.TIMEOUT
        self.fail(Failure(operation=operation, code=code))

    @property
    def admitted(self) -> bool:
        """Whether a server took the test, however it went after that."""
        return self.phase != "setup"

    def failure_of(self, direction: Direction) -> Failure:
        """Return why a direction has no result: its own failure, or the last that kept it from being tried."""
        fallback = Failure(operation=Operation.RUN, code=FailureCode.ENGINE_FAILED)
        own = self.failures.get(direction.value)
        return own or next(reversed(self.failures.values()), fallback)
