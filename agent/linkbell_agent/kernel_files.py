"""What Linux tells in small files of text, under ``/proc`` and ``/sys``."""

from pathlib import Path


def text_of(file: Path) -> str:
    """Return what is in ``file``, nothing if it is not there or may not be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
