"""Getting a credential for every agent that has none, through the same door as a real one."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from pydantic import ValidationError

from linkbell_collector.errors import RefusedError
from linkbell_collector.simulate.agent import VERSION, Identity, SimulatedAgent
from linkbell_collector.simulate.client import Client
from linkbell_collector.simulate.replies import Reply, ceiling_s
from linkbell_wire.enrolment import EnrolReply, EnrolRequest
from linkbell_wire.errors import ErrorReply

ATTEMPTS = 8
AT_ONCE = 192
"""Enrolments under way at once, of all processes: a collector lets 256 wait, and reads its directory once for all
that came together."""


async def enrol_all(
    agents: Sequence[SimulatedAgent],
    client: Client,
    tokens: Mapping[str, str],
    told: Callable[[int, int], None],
    at_once: int = AT_ONCE,
) -> int:
    """Enrol those without a credential; ``told`` hears how many of how many are done. Return how many are pending.

    Raises :class:`RefusedError` with what the collector said.
    """
    waiting = [agent for agent in agents if not agent.identity.credential]
    gate = asyncio.Semaphore(at_once)
    done = pending = 0

    async def one(agent: SimulatedAgent) -> None:
        nonlocal done, pending
        async with gate:
            pending += await _enrol(agent, client, tokens)
        done += 1
        told(done, len(waiting))

    try:
        async with asyncio.TaskGroup() as group:
            for agent in waiting:
                group.create_task(one(agent))
    except* RefusedError as refusals:
        raise refusals.exceptions[0] from None
    return pending


async def _enrol(agent: SimulatedAgent, client: Client, tokens: Mapping[str, str]) -> bool:
    site = agent.site
    token = tokens.get(site.region) or tokens.get("")
    if token is None:
        raise RefusedError(f"there is no join token for {site.region}", "give one with --token, or --data DIR")
    request = EnrolRequest(
        token=token,
        school=site.id,
        name=f"simulated box of {site.name}"[:256],
        installation=UUID(agent.identity.installation),
        version=VERSION,
        simulated=True,
    )
    body = request.model_dump_json().encode()
    for attempt in range(ATTEMPTS):
        reply = await client.post("/api/v1/enrol", {}, body)
        if reply.status == 201:
            return _take(agent, reply)
        if reply.status not in (0, 429, 500, 503):
            break
        await asyncio.sleep(random.uniform(0.1, ceiling_s(attempt)))  # noqa: S311 - spreads load
    raise _refusal(reply)


def _take(agent: SimulatedAgent, reply: Reply) -> bool:
    try:
        enrolled = EnrolReply.model_validate_json(reply.body)
    except ValidationError as error:
        raise RefusedError("something that is not a collector answered", "check the address after --url") from error
    agent.identity = Identity(agent.identity.installation, enrolled.agent, enrolled.credential)
    return enrolled.status.value == "pending"


def _refusal(reply: Reply) -> RefusedError:
    if reply.status == 0:
        return RefusedError(
            f"the collector does not answer: {reply.trouble}", "start it first: linkbell-collector serve"
        )
    try:
        error = ErrorReply.model_validate_json(reply.body)
    except ValidationError:
        return RefusedError(f"the collector answered {reply.status} to an enrolment", "check the address after --url")
    return RefusedError(error.message, error.action)
