"""The HTTP of simulated agents: few connections, kept open. Whatever goes wrong on the way is a reply, too."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp

from linkbell_collector.simulate.replies import Reply

TIMEOUT_S = 30.0


class Client:
    """Talks to one collector over at most ``connections`` connections."""

    def __init__(self, url: str, connections: int) -> None:
        self._url = url.rstrip("/")
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=75),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            auto_decompress=True,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        assert self._session is not None
        await self._session.close()

    async def get(self, path: str, headers: Mapping[str, str]) -> Reply:
        """GET ``path``."""
        return await self._request("GET", path, headers, None)

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """POST ``body``, which is JSON."""
        return await self._request("POST", path, {"Content-Type": "application/json", **headers}, body)

    async def _request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        assert self._session is not None
        try:
            async with self._session.request(method, self._url + path, headers=headers, data=body) as response:
                return Reply(response.status, response.headers, await response.read())
        except TimeoutError:
            return Reply(0, {}, b"", "timeout")
        except aiohttp.ClientConnectorError:
            return Reply(0, {}, b"", "not_connected")
        except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError):
            return Reply(0, {}, b"", "connection_lost")
