"""Files that are whole or not there at all, whatever happens to the power."""

import contextlib
import errno
import os
import secrets
from pathlib import Path


class StateError(Exception):
    """The state folder cannot be used. The message is for the technician."""


def prepare_folder(folder: Path) -> None:
    """Make ``folder``, readable by its owner only, and see that it may be written. Raises :class:`StateError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = _new_file(folder, ".writable.")
        os.close(descriptor)
        os.unlink(temporary)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) and folder.is_dir():
            return  # a full or worn-out disk is no reason not to measure: the spool works in memory and says so
        raise StateError(
            f"{folder}: cannot write there ({error.strerror}). The agent keeps its identity and unsent results in this "
            f"folder. Give it to the user the agent runs as, free some space, or choose another with --state DIR."
        ) from error


def _new_file(folder: Path, prefix: str) -> tuple[int, str]:
    """Make and open a file that was not there. The tempfile module would load three compressors for this."""
    temporary = str(folder / f"{prefix}{secrets.token_hex(8)}")
    return os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), temporary


def write_whole(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``, mode 0600, on disk when this returns. Raises :class:`StateError`."""
    try:
        descriptor, temporary = _new_file(path.parent, f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise StateError(f"{path}: cannot be written ({error.strerror}).") from error


def read_if_there(path: Path) -> bytes | None:
    """Return the content, or None if there is no such file. Raises :class:`StateError`."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path}: cannot be read ({error.strerror}).") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
