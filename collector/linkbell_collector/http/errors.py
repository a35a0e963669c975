"""The one place that turns an error into an answer."""

import logging
import secrets

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from linkbell_collector.errors import CollectorError
from linkbell_collector.pages.render import Pages
from linkbell_collector.telemetry import Telemetry
from linkbell_wire import ErrorCode, ErrorReply
from linkbell_wire.fields import MAX_TEXT_LENGTH

log = logging.getLogger(__name__)

STATUS = {
    ErrorCode.INVALID_JSON: 400,
    ErrorCode.INVALID_REQUEST: 400,
    ErrorCode.UNSUPPORTED_PROTOCOL: 400,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorCode.BODY_TOO_LARGE: 413,
    ErrorCode.CREDENTIAL_MISSING: 401,
    ErrorCode.CREDENTIAL_UNKNOWN: 401,
    ErrorCode.CREDENTIAL_REVOKED: 403,
    ErrorCode.TOKEN_UNKNOWN: 403,
    ErrorCode.TOKEN_EXPIRED: 403,
    ErrorCode.TOKEN_USED_UP: 403,
    ErrorCode.TOKEN_REVOKED: 403,
    ErrorCode.SCHOOL_MISMATCH: 409,
    ErrorCode.SCHOOL_NEEDED: 400,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.OVERLOADED: 503,
    ErrorCode.STORAGE_FULL: 503,
    ErrorCode.STORAGE_FAILED: 503,
    ErrorCode.BUSY: 503,
    ErrorCode.INTERNAL: 500,
}
"""HTTP status of every refusal. A full store is 503, not 507: agents then keep everything and come back."""


def error_middleware(pages: Pages, telemetry: Telemetry) -> Middleware:
    """Return the middleware that answers every error, for programs as JSON, for browsers as a page."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except CollectorError as error:
            response = _refuse(request, error, pages)
        except web.HTTPException as error:
            response = _refuse(request, _from_aiohttp(request, error), pages)
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
        except Exception:  # noqa: BLE001 - the supervisor of requests: a defect of ours is logged and answered
            response = _refuse(request, _defect(), pages)
        resource = request.match_info.route.resource
        telemetry.request("none" if resource is None else resource.canonical, response.status)
        return response

    return answer


def _refuse(request: web.Request, error: CollectorError, pages: Pages) -> web.Response:
    status = STATUS[error.code]
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if status == STATUS[ErrorCode.CREDENTIAL_MISSING]:
        headers["WWW-Authenticate"] = 'Bearer realm="linkbell"'
    if _is_browser(request):
        page = pages.error(status, error.message, error.action)
        return web.Response(text=page, status=status, headers=headers, content_type="text/html")
    reply = ErrorReply(code=error.code, message=_clip(error.message), action=error.action and _clip(error.action))
    return web.Response(
        body=reply.model_dump_json().encode(), status=status, headers=headers, content_type="application/json"
    )


def _clip(text: str) -> str:
    printable = "".join(char if char.isprintable() else "?" for char in text)
    return printable[:MAX_TEXT_LENGTH]


def _is_browser(request: web.Request) -> bool:
    return not request.path.startswith("/api/") and "text/html" in request.headers.get("Accept", "")


def _from_aiohttp(request: web.Request, error: web.HTTPException) -> CollectorError:
    if error.status == STATUS[ErrorCode.NOT_FOUND]:
        return CollectorError(
            ErrorCode.NOT_FOUND, "there is nothing at this address", "see docs/collector.md for the addresses there are"
        )
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return CollectorError(
            ErrorCode.METHOD_NOT_ALLOWED,
            f"{request.method} is not possible here; possible: {allowed}",
            "see docs/collector.md for the addresses there are",
        )
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return too_large()
    return CollectorError(ErrorCode.INVALID_REQUEST, f"the request cannot be used: {error.reason}")


def too_large(limit: int | None = None) -> CollectorError:
    """Return the refusal of a body that is too large after decompression."""
    limit_text = "" if limit is None else f" of {limit} bytes"
    return CollectorError(
        ErrorCode.BODY_TOO_LARGE,
        f"the body is larger than the limit{limit_text}, counted after decompression",
        "send the records in smaller batches: halve them until they are taken",
    )


def _defect() -> CollectorError:
    correlation = secrets.token_hex(4)
    log.exception("request failed, correlation id %s", correlation)
    return CollectorError(
        ErrorCode.INTERNAL,
        f"the collector made a mistake; nothing was acknowledged (correlation id {correlation})",
        "try again; if it stays so, send the lines with this id from the collector's log to its developers",
    )
