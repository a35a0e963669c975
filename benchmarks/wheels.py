"""How much a box has to fetch for ``linkbell[agent]``: wheels for each kind of machine, by pip itself."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = "311"
MACHINES = ("x86_64", "aarch64", "armv7l")
GLIBC = ("2_17", "2_28", "2_31", "2_34", "2_36")
"""Versions of glibc whose wheels a box with Debian 12 takes."""

FOUND = "LINKBELL_BENCH_WHEELS"


def found(folder: Path, *, short: bool) -> str:
    """Fetch everything and return the sizes as text, for a process that cannot reach the registry any more."""
    return json.dumps(_fetch(folder, MACHINES[:1] if short else MACHINES))


def fetch(folder: Path, machines: Sequence[str]) -> dict[str, dict[str, int] | None]:
    """Return the size in bytes of each wheel by machine, None where they could not all be had. Prints them."""
    kept = os.environ.get(FOUND)
    sizes: dict[str, dict[str, int] | None] = _fetch(folder, machines) if kept is None else json.loads(kept)
    for machine, wheels in sizes.items():
        for name, size in (wheels or {}).items():
            print(f"{machine:8}  {size / 1e6:6.2f} MB  {name}")
        if wheels is None:
            print(f"{machine:8}  not to be had: no registry, or no wheel")
    return sizes


def _fetch(folder: Path, machines: Sequence[str]) -> dict[str, dict[str, int] | None]:
    own = folder / "own"
    try:
        _pip("wheel", "--no-deps", "--wheel-dir", str(own), str(ROOT))
    except subprocess.CalledProcessError as error:
        print(error.stderr.strip()[-400:], file=sys.stderr)
        return dict.fromkeys(machines)
    wheel = next(own.glob("linkbell-*.whl"))
    return {machine: _of(machine, wheel, folder / machine) for machine in machines}


def _of(machine: str, wheel: Path, folder: Path) -> dict[str, int] | None:
    platforms = [f"--platform=manylinux_{version}_{machine}" for version in GLIBC]
    platforms += [f"--platform=manylinux2014_{machine}"]
    words = ("--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp", "--dest", str(folder))
    try:
        _pip("download", *words, *platforms, f"{wheel}[agent]")
    except subprocess.CalledProcessError as error:
        print(error.stderr.strip()[-400:], file=sys.stderr)
        return None
    return {file.name: file.stat().st_size for file in sorted(folder.glob("*.whl"))}


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    subprocess.run(command, check=True, capture_output=True, text=True)
