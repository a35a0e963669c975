"""What every handler needs of a request: its body within bounds, and who sent it."""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from linkbell_collector.domain import Agent, AgentState
from linkbell_collector.errors import CollectorError
from linkbell_collector.http import compression
from linkbell_collector.http.errors import too_large
from linkbell_collector.registry import Registry
from linkbell_collector.secret import digest
from linkbell_wire import ErrorCode

_JSON = "application/json"
_BEARER = "bearer "
_MAX_CREDENTIAL_LENGTH = 256


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Largest body after decompression, and how long it may take to arrive."""

    max_bytes: int
    timeout_s: float


async def read_json_body(request: web.Request, limits: BodyLimits) -> bytes:
    """Return the whole body, decompressed. Raises ``CollectorError`` if it is not JSON, too large, broken or slow."""
    if request.content_type != _JSON:
        raise CollectorError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            f"the body is {request.content_type!r}, not JSON"[:200],
            "send it with Content-Type: application/json, and Content-Encoding: gzip if it is compressed",
        )
    encoding = request.headers.get("Content-Encoding", compression.IDENTITY).strip().lower()
    if encoding not in compression.ENCODINGS:
        raise CollectorError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            f"the body is packed as {encoding!r}, which is not understood"[:200],
            "send it as it is, or with Content-Encoding: gzip",
        )
    raw = await _read(request, limits)
    try:
        return compression.unpack(raw, encoding, limits.max_bytes)
    except compression.TooLargeError as error:
        raise too_large(limits.max_bytes) from error
    except compression.BrokenError as error:
        raise CollectorError(
            ErrorCode.INVALID_REQUEST,
            f"the body cannot be decompressed: {error}",
            "check Content-Encoding and the compression; nothing was stored",
        ) from error


async def _read(request: web.Request, limits: BodyLimits) -> bytes:
    try:
        if request.content.is_eof():  # most bodies came with their headers, and need no timer
            return await request.read()
        async with asyncio.timeout(limits.timeout_s):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise too_large(limits.max_bytes) from error
    except TimeoutError as error:
        raise CollectorError(
            ErrorCode.OVERLOADED,
            f"the body did not arrive within {limits.timeout_s:g} seconds",
            "send the records in smaller batches if the line is slow",
            retry_after_s=5,
        ) from error
    except web.RequestPayloadError as error:
        raise CollectorError(
            ErrorCode.INVALID_REQUEST,
            "the body is cut off or its chunks make no sense",
            "send it again, whole; nothing was stored",
        ) from error


def authenticate(request: web.Request, registry: Registry) -> Agent:
    """Return the agent whose credential came with the request. Raises ``CollectorError``."""
    header = request.headers.get("Authorization", "")
    if header[: len(_BEARER)].lower() != _BEARER:
        raise CollectorError(
            ErrorCode.CREDENTIAL_MISSING,
            "the request has no agent credential",
            "enrol the agent (linkbell-agent enrol), and send its credential as Authorization: Bearer ...",
        )
    credential = header[len(_BEARER) :].strip()
    # Looked up by hash: how long that takes says nothing about any credential there is.
    agent = registry.agent(digest(credential)) if len(credential) <= _MAX_CREDENTIAL_LENGTH else None
    if agent is None:
        raise CollectorError(
            ErrorCode.CREDENTIAL_UNKNOWN,
            "this agent credential is not known here",
            "check that the agent talks to the collector it was enrolled at, or enrol it anew with a new join token",
        )
    if agent.state is AgentState.REVOKED:
        raise CollectorError(
            ErrorCode.CREDENTIAL_REVOKED,
            f"agent {agent.id} was revoked by the operator of the collector",
            "ask the operator for a new join token and enrol the agent anew; it keeps its records until then",
        )
    return agent
