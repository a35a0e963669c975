"""Web pages as a probe sees them: the head of an answer, and whether it is the page that was asked for. Pure.

A login page (captive portal) and a filter's "blocked" page answer in the name of the page asked for. RFC 8910 and RFC
6585 say how a portal should announce itself; hardly one does, so a page of known content is asked for and compared.
"""

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urljoin, urlsplit

from linkbell_agent.permit import is_public, plain
from linkbell_agent.slim import dataclass
from linkbell_wire.failures import FailureCode
from linkbell_wire.version import __version__

END_OF_HEAD = b"\r\n\r\n"
MAX_HEAD_BYTES = 16_384

NETWORK_AUTHENTICATION_REQUIRED, UNAVAILABLE_FOR_LEGAL_REASONS = 511, 451

_STATUS_LINE = re.compile(rb"^HTTP/1\.[01] ([1-5]\d\d)(?: |$)")

BLOCK_HOSTS = ("block.", "blocked.", "blockpage.", "stop.", "deny.", "denied.", "filter.", "warning.")
"""How the hosts begin to which filters send: ``block.opendns.com``, ``blocked.example.kz``."""

BLOCK_PATHS = ("/blocked", "/blockpage", "/block.html", "/deny", "/accessdenied", "/webfilter", "/zapret")

BLOCK_PHRASES = (
    b"this site is blocked",
    b"site is blocked",
    b"website is blocked",
    b"web page blocked",
    b"web site blocked",
    b"access to this site has been blocked",
    b"access to this site is blocked",
    b"access to this page has been denied",
    b"blocked by the network administrator",
    b"blocked by your organization",
    b"fortiguard intrusion prevention",
    b"fortigate application control",
    b"this domain is blocked",
    "доступ к сайту заблокирован".encode(),
    "доступ к запрашиваемому ресурсу".encode(),
    "доступ ограничен".encode(),
    "доступ запрещен".encode(),
    "доступ запрещён".encode(),
    "ресурс заблокирован".encode(),
    "сайт заблокирован".encode(),
    "сайтқа кіруге тыйым салынған".encode(),
    "қолжетімділік шектелген".encode(),
    "бұғатталған".encode(),
)
"""What filters say, in lower case: two phrases of products that schools use, and their words in three languages."""

PHRASES_WITHIN_BYTES = 8192
"""A filter says so at once. A news page may say "blocked" further down, and is no filter."""

PHRASES_UP_TO_BYTES = 32_768
"""A page of more than that is not a filter's."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a page of known content looks like: its status, and text its body must hold."""

    status: int
    text: bytes = b""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of an answer. Header names are lower case; of several of a name, the last."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """An answer as far as it was read."""

    url: str
    head: Head
    body: bytes


def request(url: str) -> bytes:
    """Return a GET of ``url`` that asks for nothing to be kept, packed or held open."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host_header(parts)}",
        f"User-Agent: linkbell-agent/{__version__}",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Cache-Control: no-cache",
        "Connection: close",
        "",
        "",
    )
    return "\r\n".join(lines).encode("utf-8", "replace")


def host_header(parts: SplitResult) -> str:
    """Return host and, unless it is the scheme's own, port."""
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host if host.isascii() else host.encode("idna").decode("ascii")
    return host if parts.port in (None, 443 if parts.scheme == "https" else 80) else f"{host}:{parts.port}"


def parse_head(raw: bytes) -> Head | None:
    """Read a head without its empty line; ``None`` if it is not HTTP."""
    first, *lines = raw.split(b"\r\n")
    match = _STATUS_LINE.match(first)
    if match is None:
        return None
    pairs = (line.partition(b":") for line in lines)
    headers = {name.strip().lower().decode("latin-1"): value.strip().decode("latin-1") for name, _, value in pairs}
    return Head(int(match[1]), headers)


def trouble_with(page: Page, expected: Expectation | None) -> FailureCode | None:
    """Return what is wrong with a page, ``None`` if it is what was asked for.

    With encryption nobody can answer in the page's name, so what comes is the server's own, a redirect to its login
    included; only a filter that the box was made to trust could, and says that it blocks.
    """
    blocked = _is_blocked(page)
    if blocked and expected is None:
        return FailureCode.BLOCKED_PAGE
    if page.head.status == NETWORK_AUTHENTICATION_REQUIRED:
        return FailureCode.CAPTIVE_PORTAL
    if page.url.startswith("https:"):
        return _trouble_with_secure(page, expected)
    if expected is not None:
        return _trouble_with_known(page, expected)
    target = redirect_of(page)
    if target is not None and not is_same_site(page.url, target):
        return FailureCode.CAPTIVE_PORTAL if _is_private(target) else FailureCode.REDIRECTED
    return FailureCode.HTTP_STATUS if page.head.status >= 400 else None


def _trouble_with_secure(page: Page, expected: Expectation | None) -> FailureCode | None:
    if page.head.status >= 400:
        return FailureCode.HTTP_STATUS
    if expected is not None and not _fits(page, expected) and redirect_of(page) is None:
        return FailureCode.PROTOCOL_ERROR
    return None


def _trouble_with_known(page: Page, expected: Expectation) -> FailureCode | None:
    """A page of known content: whatever else says "fine", or sends elsewhere, is somebody else's."""
    if _fits(page, expected):
        return None
    target = redirect_of(page)
    if target is not None:
        # The same site over TLS is a server that is never asked in the clear, not a login page.
        return FailureCode.REDIRECTED if is_same_site(page.url, target) else FailureCode.CAPTIVE_PORTAL
    if page.head.status < 300:
        return FailureCode.CAPTIVE_PORTAL
    return FailureCode.BLOCKED_PAGE if _is_blocked(page) else FailureCode.HTTP_STATUS


def _fits(page: Page, expected: Expectation) -> bool:
    return page.head.status == expected.status and expected.text in page.body


def redirect_of(page: Page) -> str | None:
    """Return where a page sends to, ``None`` if it sends nowhere."""
    location = page.head.headers.get("location")
    if not 300 <= page.head.status < 400 or not location:
        return None
    try:
        target = urljoin(page.url, location)
        urlsplit(target).port  # noqa: B018 - raises for a port that is none
    except ValueError:
        return "http://invalid"
    return target


def is_same_site(url: str, target: str) -> bool:
    """Say whether two addresses belong together: one's host ends with the other's, ``www.`` aside."""
    ours, theirs = ((urlsplit(one).hostname or "").removeprefix("www.") for one in (url, target))
    return ours == theirs or ours.endswith(f".{theirs}") or theirs.endswith(f".{ours}")


def _is_private(url: str) -> bool:
    try:
        return not is_public(plain(urlsplit(url).hostname or ""))
    except ValueError:
        return False


def _is_blocked(page: Page) -> bool:
    if page.head.status == UNAVAILABLE_FOR_LEGAL_REASONS:
        return True
    target = redirect_of(page)
    if target is not None:
        parts = urlsplit(target.lower())
        return not is_same_site(page.url, target) and (
            (parts.hostname or "").startswith(BLOCK_HOSTS) or parts.path.startswith(BLOCK_PATHS)
        )
    if len(page.body) > PHRASES_UP_TO_BYTES or "html" not in page.head.headers.get("content-type", "html"):
        return False
    start = page.body[:PHRASES_WITHIN_BYTES].decode("utf-8", "ignore").lower().encode()
    return any(phrase in start for phrase in BLOCK_PHRASES)
