"""Where connections come in: one address may hold only so many open, whatever it asks for, or never asks for.

Whoever opens connections and says nothing is waited for, as a line may be slow; so it is their number that is bounded.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import cast

from linkbell_collector.measure.address import subscriber
from linkbell_wire.errors import ErrorCode, ErrorReply

RETRY_AFTER_S = 15
"""Connections that ask for nothing are closed after as long."""


class Doors:
    """Counts open connections by address. Use it as asyncio's protocol factory, in front of ``inner``.

    ``limit`` is the most for one address, 0 for no limit; ``refused`` is called for each that is closed at once.
    """

    def __init__(self, limit: int, inner: Callable[[], asyncio.BaseProtocol], refused: Callable[[], None]) -> None:
        self._limit = limit
        self._inner = inner
        self._refused = refused
        self._open: Counter[str] = Counter()

    def __call__(self) -> asyncio.Protocol:
        """Return a protocol for one connection."""
        return _Door(self)

    @property
    def addresses(self) -> int:
        """How many addresses have connections open."""
        return len(self._open)

    def enter(self, address: str) -> asyncio.Protocol | None:
        """Take one connection in: what serves it, ``None`` if its address has too many."""
        if 0 < self._limit <= self._open[address]:
            self._refused()
            return None
        self._open[address] += 1
        return cast(asyncio.Protocol, self._inner())

    def leave(self, address: str) -> None:
        """Forget one connection; an address without any is not kept."""
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]


class _Door(asyncio.Protocol):
    """Passes all on to what serves the connection, and hears when it is over."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._address = ""
        self._inner: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self._address = subscriber(str(peer[0])) if peer else ""
        self._inner = self._doors.enter(self._address)
        if self._inner is not None:
            self._inner.connection_made(transport)
            return
        cast(asyncio.Transport, transport).write(_REFUSAL)
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._inner is None:
            return
        inner, self._inner = self._inner, None
        self._doors.leave(self._address)
        inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._inner is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()


def _refusal() -> bytes:
    body = ErrorReply(
        code=ErrorCode.BUSY,
        message="Your address has too many connections open.",
        action=f"Try again in {RETRY_AFTER_S} seconds.",
    ).model_dump_json(exclude_none=True)
    head = (
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: application/json; charset=utf-8",
        f"Content-Length: {len(body.encode())}",
        f"Retry-After: {RETRY_AFTER_S}",
        "Connection: close",
    )
    return "\r\n".join([*head, "", body]).encode()


_REFUSAL = _refusal()
