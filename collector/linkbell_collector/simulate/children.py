"""The processes of a simulation: those with the agents, and a collector if it was asked for."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from linkbell_collector.errors import RefusedError
from linkbell_collector.simulate.run_file import Shard

STOP_LIMIT_S = 60.0
_LINE_LIMIT = 1 << 20


class ShardProcess:
    """One process with agents. ``heard`` is told each line it says."""

    def __init__(self, process: asyncio.subprocess.Process, heard: Callable[[Mapping[str, Any]], None]) -> None:
        self._process = process
        self._heard = heard

    @classmethod
    async def start(cls, shard: Shard, heard: Callable[[Mapping[str, Any]], None]) -> "ShardProcess":
        """Start it."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "linkbell_collector.simulate.shard",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
        )
        assert process.stdin is not None
        process.stdin.write(shard.to_json().encode() + b"\n")
        await process.stdin.drain()
        return cls(process, heard)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def listen(self) -> int:
        """Hear what it says until it ends. Return its exit status."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._heard(json.loads(line))
        return await self._process.wait()

    def stop(self) -> None:
        """Ask it to end in good order."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)

    async def end(self) -> None:
        """End it, by force if it takes too long."""
        self.stop()
        await _end(self._process)


class CollectorProcess:
    """A ``linkbell-collector serve`` of our own, that can be killed and started again."""

    def __init__(self, data: Path, listen: str) -> None:
        self._data = data
        self._listen = listen
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def start(self) -> None:
        """Start it and wait until it listens. Raises :class:`RefusedError`."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "linkbell_collector.cli", "serve", "--data", str(self._data), "--listen", self._listen),
            *("--log-level", "warning"),
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us: the collector has to outlive the agents' good-bye
        )
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode()
        _, _, self.url = line.strip().partition("listening on ")
        if not self.url:
            await self._process.wait()
            raise RefusedError("the collector did not start; its own words are above")
        self._listen = self.url.partition("://")[2]

    async def restart(self) -> None:
        """Kill it, as a power cut would, and start it again at the same address."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self.start()

    async def end(self) -> None:
        """Stop it in good order."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            await _end(self._process)


async def _end(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
