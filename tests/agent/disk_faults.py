"""Disks that fail, for real: run as ``python -m tests.agent.disk_faults SCENARIO FOLDER`` in a mount namespace.

FOLDER is a mounted file system of its own. Prints what came of it as JSON.
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

from linkbell_agent.life import Life
from linkbell_agent.spool import Limits, Spool
from linkbell_agent.spool_file import SpoolFile
from tests.agent.fakes import BootingClock, event_record, ping_record

Sent = list[tuple[str, int]]


def start(folder: Path) -> Spool:
    return Spool(lambda: SpoolFile(folder / "spool.db"), uuid4(), BootingClock("a"), Limits())


async def drain(spool: Spool, at_most: int | None = None) -> Sent:
    """Settle batches until nothing waits, or ``at_most`` of them, and return what they held."""
    sent: Sent = []
    while at_most != 0 and (batch := await spool.next_batch(60)) is not None:
        sent += [(batch.stream, seq) for seq in batch.seqs]
        await spool.settle(batch, rejected=0)
        at_most = None if at_most is None else at_most - 1
    return sent


def device_of(folder: Path) -> str:
    mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    return next(mount[0] for mount in mounts if mount[1] == str(folder))


def break_down(folder: Path) -> None:
    """Make ext4 believe it has met a bad sector."""
    device = Path(device_of(folder)).name
    Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("1", encoding="ascii")


def repair(folder: Path) -> None:
    """Check the file system as a boot would, and mount it for writing."""
    name = Path(device_of(folder)).name
    image = Path(f"/sys/block/{name}/loop/backing_file").read_text(encoding="utf-8").strip()
    subprocess.run(["umount", str(folder)], check=True)
    subprocess.run(["/sbin/e2fsck", "-fy", image], check=False, capture_output=True)
    subprocess.run(["mount", "-o", "loop", image, str(folder)], check=True)


def fill(folder: Path) -> None:
    """Write until nothing fits any more."""
    descriptor = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, bytes(1024))
    except OSError:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def read_only(folder: Path) -> object:
    """A card wears out under a running agent: ext4 turns read-only, as it does on a bad sector."""
    spool = start(folder)
    life = Life(BootingClock("a"), folder)
    await life.begin()
    for _ in range(150):
        spool.append(ping_record())
    spool.append(event_record())
    await spool.flush()
    break_down(folder)
    before = await drain(spool, at_most=2)
    for _ in range(30):
        spool.append(ping_record())
    flushed = await spool.flush()
    await life.end()
    sent = before + await drain(spool)
    waiting = spool.waiting
    await spool.close()
    repair(folder)
    again = start(folder)
    await again.open()
    left = await drain(again)
    await again.close()
    return {
        "flushed": flushed,
        "sent": len(sent),
        "sent_once": len(set(sent)),
        "waiting": waiting,
        "sent_again_of_those": len(set(left) & set(sent)),
        "new": len(set(left) - set(sent)),
    }


async def full(folder: Path) -> object:
    """A small disk fills up with somebody else's file, and is freed again."""
    spool = start(folder)
    await spool.open()
    for _ in range(100):
        spool.append(ping_record())
    await spool.flush()
    fill(folder)
    for _ in range(800):
        spool.append(ping_record())
    flushed = await spool.flush()
    sent = await drain(spool, at_most=4)
    (folder / "filler").unlink()
    flushed_then = await spool.flush()
    await spool.close()
    again = start(folder)
    await again.open()
    sent += await drain(again)
    dropped = again.counter("dropped")
    await again.close()
    return {
        "flushed": flushed,
        "flushed_then": flushed_then,
        "settled": len(set(sent)),
        "dropped": dropped,
    }


SCENARIOS = {"read_only": read_only, "full": full}


def main() -> None:
    print(json.dumps(asyncio.run(SCENARIOS[sys.argv[1]](Path(sys.argv[2])))))


if __name__ == "__main__":
    main()
