"""A real Prometheus on a free port, with its data in a folder of the test."""

import asyncio
import json
import os
import shutil
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

READY_TIMEOUT_S = 30.0


def free_port() -> int:
    """Return a port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(url: str) -> str:
    """Return what ``url`` answers. Raises ``OSError``."""
    with urllib.request.urlopen(url, timeout=10) as response:
        return str(response.read().decode())


class Prometheus:
    """Where it listens, and what it answers."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the result of an instant query."""
        address = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        answer = json.loads(await asyncio.to_thread(fetch, address))
        assert answer["status"] == "success"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    async def wait_for(self, expression: str, timeout_s: float = 30.0) -> list[dict[str, Any]]:
        """Return the result of ``expression`` as soon as there is one."""
        async with asyncio.timeout(timeout_s):
            while not (result := await self.query(expression)):  # noqa: ASYNC110 - another process sets no event
                await asyncio.sleep(0.25)
            return result


@asynccontextmanager
async def prometheus(folder: Path, scrape_configs: str) -> AsyncIterator[Prometheus]:
    """Run Prometheus with ``scrape_configs`` (YAML) until the block ends."""
    program = shutil.which("prometheus")
    assert program is not None, "prometheus is not installed; `make test` installs it from Debian's packages"
    configuration = folder / "prometheus.yml"
    configuration.write_text(f"global: {{ scrape_interval: 1s }}\nscrape_configs:\n{scrape_configs}")
    url = f"http://127.0.0.1:{free_port()}"
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address={url.removeprefix('http://')}",
            stdout=log,
            stderr=log,
            env={**os.environ, "GOMAXPROCS": "1"},
        )
    try:
        await _wait_until_ready(url, process)
        yield Prometheus(url)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _wait_until_ready(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(READY_TIMEOUT_S):
        while process.returncode is None:
            try:
                await asyncio.to_thread(fetch, f"{url}/-/ready")
                return
            except OSError:
                await asyncio.sleep(0.1)
    raise AssertionError("Prometheus ended while starting")
