"""One ``serve`` per data folder: two would each hold a different live state."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from linkbell_collector.errors import RefusedError

LOCK_NAME = "serve.lock"


class FolderLock:
    """Holds the folder while the context lasts; the kernel lets go of it however the process ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Take the lock. Raises :class:`RefusedError` if another process has it or the folder cannot be written."""
        path = self._folder / LOCK_NAME
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise RefusedError(
                f"the data folder {self._folder} cannot be written: {error.strerror or error}",
                f"give the user that runs this the right to write {self._folder}, or choose another with --data",
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise RefusedError(
                f"another collector (process {holder}) already serves the data folder {self._folder}",
                "stop that one first, or choose another folder with --data",
            ) from error
        self._write(f"{os.getpid()}\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go. The file stays: removing it would let two processes lock two files of one name."""
        os.close(self._descriptor)

    def _write(self, text: str) -> None:
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text.encode(), 0)
        except OSError:
            # A full disk must not keep the collector from starting: the number is only for the message above.
            return
