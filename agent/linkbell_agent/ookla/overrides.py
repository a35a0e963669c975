"""What stands in for speedtest-cli's own connections and bodies, once :func:`install` was called in this process."""

import base64
import os
import timeit
from typing import Any, ClassVar
from urllib.request import HTTPRedirectHandler, ProxyHandler

import speedtest

from linkbell_agent.ookla.sockets import Dialler, Ledger, trouble_of

TEST_HEADER = "X-Linkbell-Test"
"""Tells our own server which requests belong together, where several schools share an address."""

_LETTERS = base64.urlsafe_b64encode(os.urandom(3 << 15))
"""Random, for a form's text: speedtest-cli sends the same 36 letters again and again, which a modem may compress."""


def install(ledger: Ledger, dialler: Dialler, test: str | None) -> None:
    """Replace them for good. ``test`` is the test's name on our own servers, ``None`` for the public ones."""
    _Connection.ledger, _Connection.dialler, _Connection.test = ledger, dialler, test
    _Body.ledger = ledger
    speedtest.SpeedtestHTTPConnection = _Plain
    speedtest.SpeedtestHTTPSConnection = _Tls
    speedtest.HTTPUploaderData = _Body
    speedtest.ProxyHandler = lambda: ProxyHandler({})  # the line is measured, not somebody's proxy
    if test is not None:
        speedtest.HTTPRedirectHandler = _NoRedirects


class _Connection:
    """What both kinds of connection do our way; stands before speedtest-cli's class in the order of resolution."""

    ledger: ClassVar[Ledger]
    dialler: ClassVar[Dialler]
    test: ClassVar[str | None]

    host: str
    port: int
    sock: Any = None
    is_answered = False

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **more: Any) -> None:
        """Ask, and say whose test it is."""
        named = dict(headers or {}) | ({TEST_HEADER: self.test} if self.test else {})
        super().request(method, url, body, named, **more)  # type: ignore[misc]

    def getresponse(self) -> Any:
        """Return the answer, and keep what was wrong with it."""
        self.is_answered = True  # from here on a close hands the connection over to the answer
        try:
            response = super().getresponse()  # type: ignore[misc]
        except Exception as error:
            self.is_answered = False
            self.ledger.latest = trouble_of(error, "http_request")
            raise
        bad = {"operation": "http_request", "kind": "http", "number": response.status}
        self.ledger.latest = None if response.status == 200 else bad
        return response

    def close(self) -> None:
        """Close; a request that is broken off leaves nothing behind in the kernel."""
        if self.sock is not None and not self.is_answered:
            self.ledger.cut(self.sock)
        super().close()  # type: ignore[misc]

    def connect(self) -> None:
        """Connect out of the uplink."""
        try:
            self.sock = self._connected()
        except OSError as error:
            self.ledger.latest = trouble_of(error, "connect")
            raise

    def _connected(self) -> Any:
        return self.dialler.plain(self.dialler.open(self.host, self.port))


class _Plain(_Connection, speedtest.SpeedtestHTTPConnection):  # type: ignore[misc]
    """Over plain TCP."""


class _Tls(_Connection, speedtest.SpeedtestHTTPSConnection):  # type: ignore[misc]
    """Over TLS, the certificate checked against the box's trust store."""

    def _connected(self) -> Any:
        return self.dialler.wrap(self.dialler.open(self.host, self.port), self._context, self.host)


class _Body(speedtest.HTTPUploaderData):  # type: ignore[misc]
    """A form of random letters, made as it is read: speedtest-cli holds all of them in memory, 7 MB each."""

    ledger: ClassVar[Ledger]

    def read(self, n: int = 10240) -> bytes:
        """Return the next piece, nothing at the end. Raises what speedtest-cli raises when time or bytes are up."""
        if timeit.default_timer() - self.start > self.timeout or self.ledger.is_spent():
            raise speedtest.SpeedtestUploadTimeout
        given = self.total[0]  # one sum, where speedtest-cli keeps a list of all pieces
        wanted = min(n, self.length - given, len(_LETTERS))
        granted = self.ledger.reserve(wanted)
        if wanted and not granted:
            raise speedtest.SpeedtestUploadTimeout
        chunk = _LETTERS[:granted] if given else (b"content1=" + _LETTERS)[:granted]
        self.total[0] = given + len(chunk)
        self.ledger.touch()
        return chunk


class _NoRedirects(HTTPRedirectHandler):
    """A measurement server sends nobody elsewhere; a login page does."""

    def redirect_request(self, *_arguments: Any) -> None:
        """Follow nothing: the status is the error."""
