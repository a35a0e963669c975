"""May this token make an agent, of which school, and is it shown at once? Pure; the store acts on the answer."""

from dataclasses import dataclass

from linkbell_collector.domain import Agent, AgentState, School, Token
from linkbell_collector.errors import CollectorError
from linkbell_wire import ErrorCode
from linkbell_wire.enrolment import EnrolRequest

_ASK_FOR_TOKEN = "ask the operator of the collector for a new join token (linkbell-collector tokens create)"  # noqa: S105 - a sentence


@dataclass(frozen=True, slots=True)
class Grant:
    """What enrolment leads to. ``again`` is the agent that asked before and lost the reply; ``renewed`` is the agent
    that this box was until now, which stays the same agent under a new token: what it sent, and what it still has to
    send, belongs together."""

    school: str
    state: AgentState
    create_school: bool = False
    again: Agent | None = None
    renewed: Agent | None = None


@dataclass(frozen=True, slots=True)
class Before:
    """What this installation has been: enrolled with this very token, or at this school with another one."""

    same_token: Agent | None = None
    same_school: Agent | None = None


def decide(request: EnrolRequest, token: Token | None, school: School | None, before: Before, now_us: int) -> Grant:
    """Grant or refuse. ``school`` is the one that :func:`wanted_school` names, if it is known.

    A revoked agent comes back with another good token, as any box would be let in with it. Raises ``CollectorError``.
    """
    if token is None:
        raise CollectorError(ErrorCode.TOKEN_UNKNOWN, "this join token is not known here", _ASK_FOR_TOKEN)
    if token.revoked:
        raise CollectorError(ErrorCode.TOKEN_REVOKED, "this join token was revoked", _ASK_FOR_TOKEN)
    if now_us >= token.expires_us:
        raise CollectorError(ErrorCode.TOKEN_EXPIRED, "this join token has expired", _ASK_FOR_TOKEN)
    wanted = wanted_school(request, token)
    if before.same_token is not None:
        return _grant_again(before.same_token, wanted)
    if token.used >= token.uses:
        raise CollectorError(
            ErrorCode.TOKEN_USED_UP, f"this join token was made for {token.uses} and is used up", _ASK_FOR_TOKEN
        )
    if school is None:
        return Grant(wanted, AgentState.PENDING, create_school=True)
    if school.simulated != bool(request.simulated):
        raise _mismatch(_what_is_simulated(school))
    if token.region is not None and school.region != token.region:
        raise _mismatch(f"school {school.id} is not in the region of this join token")
    state = AgentState.ACTIVE if school.approved else AgentState.PENDING
    return Grant(wanted, state, renewed=before.same_school)


def wanted_school(request: EnrolRequest, token: Token) -> str:
    """Return the school the agent is to belong to. Raises ``CollectorError`` if request and token disagree."""
    if token.school is not None:
        if request.school not in (None, token.school):
            raise _mismatch(f"this join token is for another school than {request.school}")
        return token.school
    if request.school is None:
        raise CollectorError(
            ErrorCode.SCHOOL_NEEDED,
            "this join token is for a whole region, so the agent must say which school it is in",
            "enrol again and give the id of the school (linkbell-agent enrol --school ID)",
        )
    return request.school


def _grant_again(again: Agent, wanted: str) -> Grant:
    if again.state is AgentState.REVOKED:
        raise CollectorError(
            ErrorCode.CREDENTIAL_REVOKED, "this agent was revoked by the operator of the collector", _ASK_FOR_TOKEN
        )
    if again.school != wanted:
        raise _mismatch(f"this installation is already enrolled at school {again.school}")
    return Grant(again.school, again.state, again=again)


def _what_is_simulated(school: School) -> str:
    """A box that measures nothing must not speak for a school, nor a school's box be lost among them."""
    if school.simulated:
        return f"school {school.id} is simulated, and this agent is not"
    return f"this agent is simulated, and school {school.id} is not"


def _mismatch(message: str) -> CollectorError:
    return CollectorError(
        ErrorCode.SCHOOL_MISMATCH, message, "check the school id, or ask for a join token of that school"
    )
