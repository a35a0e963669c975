"""A bar on standard error while something long is done; a line now and then where that is no terminal."""

import sys
import time
from typing import TextIO

WIDTH = 30
_EVERY_S = 0.1
_EVERY_SHARE = 0.1


class Progress:
    """Told how much of how much is done, it shows the share, the rate and the time left."""

    def __init__(self, unit: str, stream: TextIO | None = None) -> None:
        self._unit = unit
        self._stream = stream or sys.stderr
        self._began_s = time.monotonic()
        self._shown_s = float("-inf")
        self._shown_share = -1.0
        self._last = ""

    def tell(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done."""
        share = done / total if total else 1.0
        now_s = time.monotonic()
        terminal = self._stream.isatty()
        due = now_s - self._shown_s >= _EVERY_S if terminal else share - self._shown_share >= _EVERY_SHARE
        if (not due and share < 1) or self._shown_share >= 1:
            return
        self._shown_s, self._shown_share = now_s, share
        line = bar(share, done, total, now_s - self._began_s, self._unit)
        if terminal:
            print(f"\r{line.ljust(len(self._last))}", end="" if share < 1 else "\n", file=self._stream, flush=True)
        else:
            print(line, file=self._stream, flush=True)
        self._last = line


def bar(share: float, done: int, total: int, took_s: float, unit: str) -> str:
    """Return the line: a bar, the share, the amounts, the rate, and the time left by that rate."""
    filled = round(share * WIDTH)
    text = f"[{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%}  {done:,} of {total:,} {unit}"
    if took_s <= 0 or not done:
        return text
    rate = done / took_s
    if share >= 1:
        return f"{text}, {rate:,.0f}/s"
    minutes, seconds = divmod(round((total - done) / rate), 60)
    return f"{text}, {rate:,.0f}/s, {minutes}:{seconds:02d} left"
