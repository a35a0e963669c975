"""Enrolment: a join token against an identity. Safe to repeat, and to resume after a lost reply."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.collector_api import CollectorApi, HttpReply
from linkbell_agent.describe import CLOCK_CODES, advice, next_step
from linkbell_agent.identity import Identity, installation_id, read_identity, write_identity
from linkbell_agent.slim import dataclass
from linkbell_wire.enrolment import EnrolReply, EnrolRequest, EnrolStatus
from linkbell_wire.errors import ErrorReply
from linkbell_wire.version import __version__

ENROL_PATH = "/api/v1/enrol"


class EnrolmentError(Exception):
    """Enrolment did not happen. The message says what it means and what to do."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The outcome. ``already`` is true if this box was enrolled with the same collector before."""

    identity: Identity
    status: EnrolStatus | None
    already: bool = False


def check_url(url: str) -> str:
    """Return ``url`` without a trailing slash. Raises :class:`EnrolmentError` if it is not a collector's URL."""
    try:
        parts = urlsplit(url)
        port = parts.port  # raises for a port that is no number
    except ValueError:
        parts, port = urlsplit(""), None
    plain = not (parts.query or parts.fragment or parts.username) and port != 0
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise EnrolmentError(
            f"{url} is not the address of a collector. Write it like https://collector.example or http://192.0.2.7:8470."
        )
    return url.rstrip("/")


@dataclass(frozen=True, slots=True)
class Door:
    """The collector's: its address, how to talk to it, and its certificate (PEM) if only the token vouches for it."""

    url: str
    api: CollectorApi
    certificate: str | None = None


async def enrol(door: Door, state: Path, request: EnrolRequest, *, again: bool) -> Enrolled:
    """Exchange the token and keep the identity in ``state``. ``again`` replaces an identity that is there.

    Raises :class:`EnrolmentError`, or :class:`~linkbell_agent.files.StateError`.
    """
    url = door.url
    present = None if again else read_identity(state)
    if present is not None:
        if present.collector == url:
            return Enrolled(present, None, already=True)
        raise EnrolmentError(
            f"this box is enrolled with {present.collector} as {present.agent}. To move it to {url}, add --again."
        )
    asked = request.model_copy(update={"installation": installation_id(state), "version": __version__})
    try:
        reply = await door.api.request("POST", ENROL_PATH, {}, asked.model_dump_json(exclude_none=True).encode())
    except NetworkFailure as failure:
        raise unreachable(url, failure) from failure
    answer = _read(url, reply)
    identity = Identity(
        collector=url,
        agent=answer.agent,
        school=answer.school or request.school,
        credential=SecretStr(answer.credential),
        certificate=door.certificate,
    )
    write_identity(state, identity)
    return Enrolled(identity, answer.status)


def unreachable(url: str, failure: NetworkFailure) -> EnrolmentError:
    """Return what to tell the technician of a collector that cannot be reached."""
    said = f"the collector at {url} cannot be reached ({failure.failure.operation}: {failure.failure.code})"
    if failure.failure.code in CLOCK_CODES:
        return EnrolmentError(f"{said}: {next_step(failure.failure)}. The token is not used up: try again then.")
    return EnrolmentError(
        f"{said}. Check the address, and that this box has a working line. The token is not used up: try again."
    )


def _read(url: str, reply: HttpReply) -> EnrolReply:
    if reply.status == 201:
        try:
            return EnrolReply.model_validate_json(reply.body)
        except ValidationError as error:
            raise EnrolmentError(
                f"{url} answered something that is not from a collector. Check the address."
            ) from error
    try:
        refusal = ErrorReply.model_validate_json(reply.body)
    except ValidationError as error:
        raise EnrolmentError(
            f"{url} answered HTTP {reply.status}, and not as a collector would. Check the address; "
            "a login page of the network may stand in between."
        ) from error
    raise EnrolmentError(advice(refusal))
