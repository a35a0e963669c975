"""One agent to a state folder: whoever runs on it holds a lock that the kernel lets go of with the process."""

import errno
import fcntl
import os
from pathlib import Path

from linkbell_agent.files import StateError

LOCK_FILE = "agent.lock"


class AnotherAgentError(StateError):
    """The state folder belongs to a running agent."""


def hold(state: Path) -> int:
    """Hold the state folder for this process, until the descriptor that is returned is closed.

    Two agents on one spool would send everything twice. Raises :class:`AnotherAgentError`, or ``StateError`` if the
    folder cannot be held.
    """
    path = state / LOCK_FILE
    try:
        descriptor = _open_lock(path)
    except OSError as error:
        raise StateError(f"{path}: cannot be opened ({error.strerror}).") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise AnotherAgentError(
            f"{state}: another agent is running on this folder. Stop it first, or give this one a folder of its own "
            "with --state DIR."
        ) from error
    except OSError as error:
        os.close(descriptor)
        raise StateError(f"{path}: cannot be locked ({error.strerror}).") from error
    return descriptor


def is_held(state: Path) -> bool:
    """Say whether an agent runs on this state folder. Raises :class:`~linkbell_agent.files.StateError`."""
    try:
        os.close(hold(state))
    except AnotherAgentError:
        return True
    return False


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        # A card that has worn out: what is there can be held as well, if need be the folder itself.
        return os.open(path if path.exists() else path.parent, os.O_RDONLY | os.O_CLOEXEC)
