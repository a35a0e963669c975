"""What the kernel says of a process: memory, processor time, bytes written."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, field: str) -> float:
    """Return a field of /proc/PID/status, which is in KiB, as MB of a million bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(field)


def cpu_s(pid: int) -> float:
    """Return the processor time of a process and of its children that have ended, in the kernel and outside."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS


def written_bytes(pid: int, field: str = "write_bytes") -> int:
    """Return what the process made the disk write so far; ``wchar`` is what it handed to write(2), sockets included."""
    for line in Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise LookupError(field)
