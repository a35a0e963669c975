"""`make run` as its user sees it, on a machine without the Internet: what it says, how soon, and how it ends."""

import asyncio
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from linkbell_wire.records import RECORD_ADAPTER, SpeedRecord
from tests.end_to_end.prometheus import fetch, prometheus

ROOT = Path(__file__).parent.parent.parent
FIRST_SPEED_S = 60.0


def without_the_internet(command: Sequence[str]) -> list[str]:
    """Run ``command`` where only the loopback interface exists; this takes root, which the tests have or say so."""
    return ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command]


@asynccontextmanager
async def make_run(data: Path, *, prefix: Sequence[str] = (), arguments: Sequence[str] = ()) -> AsyncIterator["Run"]:
    command = [sys.executable, "-m", "tools.run_local", "--data", str(data), *arguments]
    process = await asyncio.create_subprocess_exec(
        *(without_the_internet(command) if prefix else command),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    run = Run(process)
    try:
        yield run
    finally:
        await end(process)


async def end(process: asyncio.subprocess.Process) -> None:
    """End it as Ctrl-C does: killed at once it could not end what it has started."""
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(30):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise


class Run:
    """A running `make run` and the lines it printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def until(self, pattern: str, timeout_s: float) -> str:
        """Return the first line, from now on, that ``pattern`` is found in."""
        assert self.process.stdout is not None
        async with asyncio.timeout(timeout_s):
            while line := (await self.process.stdout.readline()).decode():
                self.lines.append(line.rstrip())
                if re.search(pattern, line):
                    return line.rstrip()
        raise AssertionError("it ended instead:\n" + "\n".join(self.lines))


def children_of(pid: int) -> list[int]:
    listing = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in listing.split()]


def alive(pids: Sequence[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def url_in(line: str) -> str:
    found = re.search(r"https?://\S+", line)
    assert found is not None
    return found[0]


async def test_the_first_speed_is_on_the_page_in_the_metrics_and_in_prometheus_within_a_minute(tmp_path: Path) -> None:
    began = time.monotonic()
    configuration = tmp_path / "agent.toml"
    configuration.write_text("default_targets = false\n[speed]\nmax_duration_s = 2\n")
    arguments = ("--collector-port", "0", "--measure-port", "0", "--config", str(configuration), "--json")
    async with make_run(tmp_path / "var", arguments=arguments) as run:
        page = url_in(await run.until("^Collector", 30))
        token = await run.until("^Join token", 30)
        address = page.removeprefix("http://").rstrip("/")
        scrape = (
            "  - job_name: schools\n    metrics_path: /metrics/schools\n"
            f"    static_configs: [{{ targets: ['{address}'] }}]\n"
        )
        async with prometheus(tmp_path, scrape) as server:
            speed = RECORD_ADAPTER.validate_json(await run.until('"kind":"speed"', 45))
            assert isinstance(speed, SpeedRecord)
            assert speed.download is not None
            assert speed.download.bps is not None
            found = await server.wait_for("linkbell_download_bytes_per_second")
            assert [float(series["value"][1]) for series in found] == [speed.download.bps / 8]
        assert "Mbit/s" in await asyncio.to_thread(fetch, page)
        assert time.monotonic() - began < FIRST_SPEED_S
        children = children_of(run.process.pid)
        assert len(children) == 3
        run.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            await run.process.wait()
        assert run.process.returncode == 0
        assert not alive(children)
    secret = token.split()[2]
    kept = [path for path in (tmp_path / "var").rglob("*") if path.is_file()]
    assert secret.startswith("lbj_")
    assert not [path for path in kept if secret.encode() in path.read_bytes()], "a token is shown once and kept nowhere"


async def test_a_second_run_knows_its_agent_again(tmp_path: Path) -> None:
    configuration = tmp_path / "agent.toml"
    configuration.write_text("default_targets = false\n[speed]\nmax_duration_s = 1\n")
    arguments = ("--collector-port", "0", "--measure-port", "0", "--config", str(configuration))
    async with make_run(tmp_path / "var", arguments=arguments) as run:
        port = url_in(await run.until("^Collector", 30)).split(":")[2].rstrip("/")
        await run.until("^event", 30)
        identity = json.loads((tmp_path / "var" / "agent" / "identity.json").read_text())
        run.process.send_signal(signal.SIGTERM)
        await run.process.wait()
    again = ("--collector-port", port, "--measure-port", "0", "--config", str(configuration))
    async with make_run(tmp_path / "var", arguments=again) as run:
        await run.until("enrolled before", 30)
        await run.until("^speed", 45)
        assert json.loads((tmp_path / "var" / "agent" / "identity.json").read_text()) == identity


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a network without the Internet")
async def test_without_the_internet_it_says_which_layers_are_down(tmp_path: Path) -> None:
    assert shutil.which("ip") is not None, "ip is not installed; `make test` installs it (iproute2)"
    async with make_run(tmp_path / "var", prefix=("netns",), arguments=("--set", "speed.max_duration_s=1")) as run:
        assert "DOWN" in await run.until("^ping +gateway", 60)
        assert "network unreachable" in await run.until("^ping +international", 60)
        assert " up " in await run.until("^ping +collector", 60)


async def test_a_child_that_cannot_start_is_named_with_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "collector").write_text("a file where a folder should be")
    async with make_run(tmp_path / "var", arguments=("--collector-port", "0", "--measure-port", "0")) as run:
        await run.until("collector did not start", 40)
        await run.process.wait()
        assert run.process.returncode == 1
        assert "Traceback" not in "\n".join(run.lines)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a disk that cannot be written")
async def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    run = f"{sys.executable} -m tools.run_local --data {tmp_path}/var"
    command = f"mount -t tmpfs -o ro,size=1m none {tmp_path} && exec {run}"
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", "sh", "-c", command),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"--data DIR" in errors
    assert b"Traceback" not in errors
