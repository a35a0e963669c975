"""Makes the line: compiles ``linkbed.c`` once, starts it between two namespaces, and reads the truth from its log."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from linkbell_wire.words import Direction
from tests.linkbed import namespaces
from tests.linkbed.lines import Line
from tests.linkbed.namespaces import Namespace, namespace
from tests.linkbed.truth import Truth

SOURCE = Path(__file__).with_name("linkbed.c")
HEADERS = ("machine.h", "others.h")
DEVICE = "line0"
SCHOOL, WORLD = "198.18.0.1", "198.18.0.2"
"""The two ends (RFC 2544's benchmarking network); the namespaces see nothing else."""

MEASURE_PORT = 8471
OTHERS_PORT = 8479
"""What goes from or to this port counts as others' traffic in the log. In step with ``others.h``."""

_QUEUE_PACKETS = 10_000
"""Before the line's own queue nothing may be dropped, however late the emulator comes."""


def why_not(*tools: str) -> str | None:
    """Return why this machine cannot have a test bed and use ``tools`` at its ends, ``None`` if it can."""
    if shutil.which("cc") is None:
        return "the test bed is compiled: it needs a C compiler (Debian: gcc)"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "the test bed needs /dev/net/tun, as root"
    return namespaces.why_not("sysctl", *tools)


@dataclass(frozen=True)
class Bed:
    """A line and its two ends, while they are there."""

    line: Line
    school: Namespace
    world: Namespace
    log: Path

    def truth(self, until_s: float | None = None) -> Truth:
        """Read the log once it reaches ``until_s`` (CLOCK_MONOTONIC; default: now)."""
        until_s = time.monotonic() if until_s is None else until_s
        time.sleep(max(0.0, until_s + 0.25 - time.monotonic()))  # the log is flushed every 100 ms
        return Truth.read(self.log)

    @contextlib.contextmanager
    def measurement_server(self, *flags: str) -> Iterator[str]:
        """Run our measurement server at the far end; give its URL."""
        command = [
            sys.executable,
            "-m",
            "linkbell_collector.cli",
            "measure",
            "--listen",
            f"{WORLD}:{MEASURE_PORT}",
            *flags,
        ]
        with self.world.service(command, "listening on"):
            yield f"ws://{WORLD}:{MEASURE_PORT}"

    @contextlib.contextmanager
    def competitor(self, direction: Direction, flows: int = 1) -> Iterator[None]:
        """Have somebody else in the school load, or send, as fast as the line lets them: TCP, which yields and pushes.

        It passes the school's interface, counts as others' traffic in the truth, and is under way when this begins.
        """
        module, both = "tests.linkbed.competitor", (WORLD, str(OTHERS_PORT), direction.value, str(flows))
        with (
            self.world.service([sys.executable, "-m", module, "world", *both], "listening"),
            self.school.service([sys.executable, "-m", module, "school", *both], "under way"),
        ):
            yield


def binary() -> Path:
    """Return the compiled emulator; compiled anew when its source has changed."""
    source = b"".join(part.read_bytes() for part in (SOURCE, *map(SOURCE.with_name, HEADERS)))
    folder = Path(tempfile.gettempdir()) / f"linkbed-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    program = folder / f"linkbed-{hashlib.sha256(source).hexdigest()[:16]}"
    if not program.exists():
        fresh = program.with_suffix(f".{os.getpid()}")
        command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(fresh), str(SOURCE), "-lm"]
        subprocess.run(command, check=True)
        fresh.rename(program)
    return program


@contextlib.contextmanager
def linkbed(line: Line) -> Iterator[Bed]:
    """Lay ``line`` between two new namespaces; take everything away after."""
    with (
        tempfile.TemporaryDirectory() as folder,
        namespace(Namespace) as school,
        namespace(Namespace) as world,
        emulator(line, (school, world), Path(folder) / "line.log") as log,
    ):
        for side, here, there in ((school, SCHOOL, WORLD), (world, WORLD, SCHOOL)):
            # No router solicitations: what the kernel sends by itself would shift the dice of what tests send.
            # Where it has no IPv6 the key is unknown (-e).
            side.run("sysctl", "-eqw", "net.ipv6.conf.all.disable_ipv6=1")
            side.run("ip", "link", "set", DEVICE, "txqueuelen", str(_QUEUE_PACKETS), "up")
            side.run("ip", "address", "add", here, "peer", there, "dev", DEVICE)
        school.run("ip", "route", "add", "default", "dev", DEVICE)
        yield Bed(line, school, world, log)


@contextlib.contextmanager
def emulator(line: Line, ends: tuple[Namespace, Namespace], log: Path) -> Iterator[Path]:
    """Make the device ``DEVICE`` in two namespaces, the school's first, and carry ``line`` between them."""
    school, world = ends
    command = [str(binary()), school.path, world.path, DEVICE, str(log), str(line.seed)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(line.down.described() + line.up.described())
        process.stdin.close()
        first = process.stdout.readline()
        assert first.startswith("ready"), "the emulator did not start; what it said is above"
        yield log
    finally:
        with process.stdout:
            namespaces.end(process, 10)
