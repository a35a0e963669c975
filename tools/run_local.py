"""`make run`: a collector, a measurement server and one enrolled agent on this machine, and their results as they come.

Everything lies under var/. Nothing needs root or the Internet; without them the results say which layers are down.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

BIN = Path(sys.executable).parent
SCHOOL = "demo-school"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0


class CannotRunError(Exception):
    """One of the three could not start, or ended by itself."""


@dataclass
class Child:
    """One of the three processes. What it says on standard error goes to ``log``."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    async def first_line(self) -> str:
        """Return the first line of its standard output. Raises :class:`CannotRunError` if it ends before."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await self.process.stdout.readline()
        except TimeoutError as error:
            raise CannotRunError(f"{self.name} said nothing for {START_TIMEOUT_S:.0f} s; see {self.log}") from error
        if not line:
            raise CannotRunError(f"{self.name} did not start:\n{self.last_words()}")
        return line.decode().strip()

    def last_words(self) -> str:
        return "\n".join(f"  {line}" for line in self.log.read_text(errors="replace").splitlines()[-8:])

    async def stop(self) -> None:
        if self.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


@dataclass
class Local:
    """The whole of it, with its folder and ports."""

    data: Path
    collector_port: int
    measure_port: int
    agent_arguments: Sequence[str] = ()
    children: list[Child] = field(default_factory=list)

    async def start(self, name: str, *command: str) -> Child:
        log = self.data / "log" / f"{name.replace(' ', '-')}.log"
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            errors = log.open("ab")  # one that runs already goes on writing there
        except OSError as error:
            raise CannotRunError(
                f"{log}: cannot be written ({error.strerror}). Choose another folder with --data DIR."
            ) from error
        with errors:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C comes to this process alone, which ends the others in order
            )
        child = Child(name, process, log)
        self.children.append(child)
        return child

    async def bring_up(self) -> Child:
        """Start all three, enrol the agent if it has not. Returns the agent, measuring already."""
        fresh = not (self.data / "collector").exists()
        measure = await self.start(
            "measurement server", *tool("collector"), "measure", "--listen", f"127.0.0.1:{self.measure_port}"
        )
        measure_url = listening_url(await measure.first_line()).replace("http://", "ws://")
        collector = await self.start(
            "collector",
            *tool("collector"),
            "serve",
            *("--listen", f"127.0.0.1:{self.collector_port}"),
            *("--data", str(self.data / "collector")),
            *("--measurement-url", measure_url),
        )
        collector_url = listening_url(await collector.first_line())
        print(f"Collector           {collector_url}/                 the schools, in a browser")
        print(f"                    {collector_url}/metrics/schools  for Prometheus")
        print(f"Measurement server  {measure_url}               linkbell-agent speed --server {measure_url}")
        await self.enrol(collector_url, fresh=fresh)
        print(f"Everything is kept under {self.data}/; Ctrl-C ends all three. Results as they come:", flush=True)
        return await self.start(
            "agent",
            *tool("agent"),
            "run",
            *("--state", str(self.data / "agent")),
            *("--show", "--speed-now", "--set", "report.interval_s=2"),
            *self.agent_arguments,
        )

    async def enrol(self, collector_url: str, *, fresh: bool) -> None:
        identity = self.data / "agent" / "identity.json"
        if not fresh and collector_of(identity) == collector_url:
            print(f"Agent               enrolled before, for school {SCHOOL}")
            return
        made = await output(
            *tool("collector"), "tokens", "create", "--data", str(self.data / "collector"), "--school", SCHOOL, "--json"
        )
        token = json.loads(made)["token"]
        print(f"Join token          {token}  (shown this once, used up by the agent below)")
        enrolled = await output(
            *tool("agent"),
            *("enrol", collector_url, "--token", "-", "--state", str(self.data / "agent"), "--again", "--json"),
            given=token,
        )
        print(f"Agent               {json.loads(enrolled)['agent']} of school {SCHOOL}")

    async def show(self, agent: Child) -> None:
        """Print the agent's results until a process ends. Raises :class:`CannotRunError` then."""
        assert agent.process.stdout is not None
        ends = [asyncio.create_task(child.process.wait(), name=child.name) for child in self.children]
        lines = asyncio.create_task(self._print_lines(agent.process.stdout))
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*ends, lines):
                task.cancel()
        for child in self.children:
            if child.process.returncode is not None:
                raise CannotRunError(f"{child.name} ended (status {child.process.returncode}):\n{child.last_words()}")

    @staticmethod
    async def _print_lines(stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            print(line.decode(errors="replace").rstrip(), flush=True)

    async def take_down(self) -> None:
        # The agent first: it sends and keeps what it has while there is still a collector to send to.
        for child in reversed(self.children):
            await child.stop()


def collector_of(identity: Path) -> str | None:
    """Return the collector an identity file names, ``None`` if it is not there or damaged."""
    try:
        return str(json.loads(identity.read_bytes())["collector"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def tool(name: str) -> tuple[str, ...]:
    """Return the command of ``linkbell-NAME`` in this environment."""
    return (str(BIN / f"linkbell-{name}"),)


async def output(*command: str, given: str = "") -> str:
    """Run a command to its end and return what it printed. Raises :class:`CannotRunError`."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, errors = await process.communicate(f"{given}\n".encode())
    if process.returncode != 0:
        raise CannotRunError(f"{' '.join(command[:3])} failed:\n{errors.decode(errors='replace')}")
    return printed.decode()


def listening_url(line: str) -> str:
    """Return the URL in "listening on URL". Raises :class:`CannotRunError`."""
    prefix, _, url = line.partition("listening on ")
    if prefix or not url:
        raise CannotRunError(f"expected 'listening on URL', got {line!r}")
    return url


def free_or_any(port: int) -> int:
    """Return ``port`` if it is free, else 0, which lets the kernel pick one; say so."""
    if port == 0:
        return 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            print(f"Port {port} is in use: taking a free one instead.")
            return 0
    return port


async def run(local: Local, seconds: float | None) -> int:
    """Run until a signal, or for ``seconds``. Returns the exit status."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if seconds is not None:
        loop.call_later(seconds, stopped.set)
    work = asyncio.create_task(_bring_up_and_show(local))
    stop = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        return 0
    except CannotRunError as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    finally:
        for task in (work, stop):
            task.cancel()
        await asyncio.gather(work, stop, return_exceptions=True)
        print("Stopping ...", flush=True)
        await local.take_down()


async def _bring_up_and_show(local: Local) -> None:
    await local.show(await local.bring_up())


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and run."""
    parser = argparse.ArgumentParser(prog="make run", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("var"), help="folder for everything that is kept")
    parser.add_argument("--collector-port", type=int, default=8470, help="0 takes a free one")
    parser.add_argument("--measure-port", type=int, default=8471, help="0 takes a free one")
    parser.add_argument("--seconds", type=float, help="stop by itself after so long")
    arguments, for_agent = parser.parse_known_args(argv)
    local = Local(arguments.data, free_or_any(arguments.collector_port), free_or_any(arguments.measure_port), for_agent)
    return asyncio.run(run(local, arguments.seconds))


if __name__ == "__main__":
    sys.exit(main())
