"""A real ``linkbell-collector`` in a process of its own."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "linkbell_collector.cli"]


def run_command(*arguments: str | Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


def run_json(*arguments: str | Path) -> Any:
    """Run one command with ``--json`` and return what it printed."""
    done = run_command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class ServeProcess:
    """``serve`` on ``folder``; the constructor waits until it listens."""

    def __init__(self, folder: Path, listen: str = "127.0.0.1:0", flags: Sequence[str] = ()) -> None:
        self._process = subprocess.Popen(
            [*COMMAND, "serve", "--data", str(folder), "--listen", listen, *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.first_line = self._process.stdout.readline()
        assert self.first_line.startswith("listening on http://"), self.finish()
        self.url = self.first_line.split()[-1]

    def kill(self) -> None:
        """As a power cut would end it."""
        self._process.kill()
        self.finish()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """Ask it to stop; return exit status and what it printed."""
        self._process.send_signal(number)
        return self.finish()

    def finish(self) -> tuple[int, str, str]:
        """Wait for its end."""
        out, err = self._process.communicate(timeout=20)
        return self._process.returncode, out, err
