"""Network namespaces of the tests' own. Made by root, removed whatever happens."""

import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

REPOSITORY = Path(__file__).parents[2]


def why_not(*tools: str) -> str | None:
    """Return why this machine cannot make network namespaces and use ``tools`` in them, ``None`` if it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in ("ip", *tools) if shutil.which(tool) is None]
    if missing:
        return f"network namespaces need {', '.join(missing)}"
    name = f"linkbell-{uuid.uuid4().hex[:8]}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return None if made.returncode == 0 else "this kernel or container allows no network namespaces"


def end(process: "subprocess.Popen[str]", timeout_s: float) -> None:
    """Have a process end; one that does not in time is killed, and fails the test."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


@dataclass(frozen=True)
class Namespace:
    """One network of its own, with nothing but what is put into it."""

    name: str

    @property
    def path(self) -> str:
        """The file that stands for it."""
        return f"/run/netns/{self.name}"

    def inside(self, *command: str) -> list[str]:
        """Return the words that run ``command`` inside."""
        return ["ip", "netns", "exec", self.name, *command]

    def run(self, *command: str, timeout_s: float = 60) -> str:
        """Run a command inside and return what it printed; fails the test if it fails."""
        done = subprocess.run(
            self.inside(*command), capture_output=True, text=True, check=False, cwd=REPOSITORY, timeout=timeout_s
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def service(self, command: Sequence[str], ready: str, *, quiet: bool = False) -> Iterator[str]:
        """Run a long-lived command inside; give its first line, which must begin with ``ready``. Ends it after.

        What it says on standard error is shown, unless ``quiet``.
        """
        process = subprocess.Popen(
            self.inside(*command),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            text=True,
            cwd=REPOSITORY,
        )
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            assert first.startswith(ready), f"{command[0]} said {first!r} instead of {ready!r}"
            yield first
        finally:
            with process.stdout:
                end(process, 30)


N = TypeVar("N", bound=Namespace)


@contextlib.contextmanager
def namespace(make: type[N]) -> Iterator[N]:
    """Make a namespace with a loopback interface, and remove it after."""
    made = make(f"linkbell-{uuid.uuid4().hex[:8]}")
    subprocess.run(["ip", "netns", "add", made.name], check=True)
    try:
        made.run("ip", "link", "set", "lo", "up")
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", made.name], check=True)
