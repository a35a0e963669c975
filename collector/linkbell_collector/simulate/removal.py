"""Removing all that was simulated, beside a running collector or without one."""

import asyncio
from pathlib import Path

from linkbell_collector.domain import Removed
from linkbell_collector.errors import RefusedError
from linkbell_collector.folder_lock import FolderLock
from linkbell_collector.store.interface import Store

NOTICE_S = 3.0
"""A running collector knows of a revocation after two seconds at most; then nothing more comes from these agents."""


async def remove(store: Store, folder: Path) -> Removed:
    """Revoke the agents, let a running collector notice, remove everything. Real schools are not touched."""
    if await store.revoke_simulated() and _is_served(folder):
        await asyncio.sleep(NOTICE_S)
    return await store.remove_simulated()


def _is_served(folder: Path) -> bool:
    try:
        with FolderLock(folder):
            return False
    except RefusedError:
        return True
