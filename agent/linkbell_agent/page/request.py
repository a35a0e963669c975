"""Just enough of HTTP/1.1 (RFC 9112) for a read-only page: the head of a GET or HEAD request, and the head of a reply.

No I/O, and strict: whatever is unusual is refused, for nothing but browsers and ``status`` has to be understood.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import parse_qs

from linkbell_agent.slim import dataclass

MAX_HEAD_BYTES = 8192
_REQUEST_LINE = re.compile(r"([A-Z]{1,16}) (/[!-~]{0,1000}) HTTP/1\.[01]", re.ASCII)
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}):[ \t]*([\t -~\x80-\xff]*)", re.ASCII)

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""No scripts, no frames, nothing from elsewhere, nothing kept."""


class RefusedError(Exception):
    """The request is answered with ``status`` and nothing else."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request. Header names are lower case; ``language`` and ``uplink`` are from the query."""

    method: str
    path: str
    language: str | None
    headers: Mapping[str, str]
    uplink: str | None = None


def parse_request(head: bytes) -> Request:
    """Read all up to the empty line. Raises :class:`RefusedError`."""
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    matched = _REQUEST_LINE.fullmatch(first)
    if matched is None:
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    method, target = matched.groups()
    if method not in ("GET", "HEAD"):
        raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED)
    headers = _headers(lines)
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:  # a body is not for us
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    path, _, query = target.partition("?")
    asked = parse_qs(query, max_num_fields=8) if len(query) < 200 else {}
    language, uplink = (next(iter(asked.get(key, [])), None) for key in ("lang", "uplink"))
    return Request(method, path, language, headers, uplink)


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        matched = _HEADER.fullmatch(line)
        if matched is None:
            raise RefusedError(HTTPStatus.BAD_REQUEST)
        name = matched[1].lower()
        if name in headers and name == "host":  # two are a trick
            raise RefusedError(HTTPStatus.BAD_REQUEST)
        headers[name] = matched[2].strip()
    if "host" not in headers:
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    return headers


def reply_head(status: HTTPStatus, content_type: str, length: int, extra: Mapping[str, str] | None = None) -> bytes:
    """Return the head of a reply, its empty line included. The connection ends after each."""
    headers = {
        "Content-Type": content_type,
        "Content-Length": str(length),
        "Connection": "close",
        **SECURITY_HEADERS,
        **(extra or {}),
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
