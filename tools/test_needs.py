"""Install what the tests need beside Python packages, from Debian's and npm's, and say plainly what had to be left out.

In CI nothing may be left out. Elsewhere a missing program is named with the reason, and its tests fail saying the same.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BROWSER_PACKAGES = ROOT / "tests" / "browser"

PLACES = ("/usr/sbin", "/sbin", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)))
"""Where programs may be besides ``PATH``: Debian keeps those of PostgreSQL in a folder for each version."""


@dataclass(frozen=True)
class Need:
    """A program the tests start, the Debian packages it comes with, and what it is for."""

    program: str
    package: str
    purpose: str

    def is_there(self) -> bool:
        return shutil.which(self.program, path=os.pathsep.join([os.environ.get("PATH", ""), *PLACES])) is not None


NEEDS = (
    Need("prometheus", "prometheus", "scraping a real collector"),
    Need("promtool", "prometheus", "checking metrics"),
    Need("postgres", "postgresql", "the PostgreSQL store, on a server of the tests' own"),
    Need("chromium", "chromium", "looking at the pages, and M-Lab's own browser client"),
    Need("npm", "npm", "fetching M-Lab's own browser client"),
    Need("ip", "iproute2", "networks of the tests' own"),
    Need("sysctl", "procps", "what a network of its own allows"),
    Need("cc", "gcc libc6-dev", "the emulated line of the test bed"),
    Need("setpriv", "util-linux", "running as a user without rights"),
    Need("iperf3", "iperf3", "the peer in the speed benchmark"),
)


def main() -> int:
    """Install, report, and return 1 only in CI when something is missing."""
    _install_debian([need for need in NEEDS if not need.is_there()])
    missing = [f"{need.program} ({need.purpose})" for need in NEEDS if not need.is_there()]
    if not _install_npm():
        missing.append("@m-lab/ndt7 (M-Lab's own browser client)")
    if os.geteuid() != 0:
        missing.append("root (tests in network namespaces: loss, unreachable networks, shaped lines)")
    if not missing:
        return 0
    print("Left out, and the tests that need it will say so:", *missing, sep="\n  ")
    return 1 if os.environ.get("CI") else 0


def _install_debian(needs: Sequence[Need]) -> None:
    if not needs:
        return
    packages = sorted({package for need in needs for package in need.package.split()})
    apt = shutil.which("apt-get")
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if apt is None or (prefix and shutil.which("sudo") is None):
        return
    print(f"Installing {', '.join(packages)} ...", flush=True)
    # A service that starts by itself would take ports and make the tests talk to the wrong Prometheus.
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run([*prefix, *quiet, apt, *command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"apt-get {command[0]} failed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)


def _install_npm() -> bool:
    package = BROWSER_PACKAGES / "package.json"
    installed = BROWSER_PACKAGES / "node_modules" / ".package-lock.json"
    if not package.exists():
        return True
    if installed.exists() and installed.stat().st_mtime >= package.stat().st_mtime:
        return True
    npm = shutil.which("npm")
    if npm is None:
        return False
    command = [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--prefix", str(BROWSER_PACKAGES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"npm install failed: {done.stderr.strip()[-300:]}", file=sys.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
