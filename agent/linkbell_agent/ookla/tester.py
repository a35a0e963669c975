"""speedtest-cli, made to work with a server of our own, in constant memory, with a byte cap, on a given uplink.

speedtest-cli 2.1.3 always asks www.speedtest.net first, holds whole bodies in memory, knows no cap in bytes and keeps
errors to itself. All of that is overridden here; how it measures is left as it is.
"""

import time
from typing import Any

import speedtest

from linkbell_agent.ookla.sockets import DOWNLOAD, UPLOAD, Ledger, Trouble, trouble_of

STREAMS = 8
STREAM_BYTES = 1 << 18
"""With a byte cap there are only as many connections as each can have this much: all of them begin at once."""

PICTURES = [350, 500, 750, 1000, 1500, 2000, 2500, 3000, 3500, 4000]
FORMS = [524288, 1048576, 7340032]
"""What www.speedtest.net tells its clients to use, as long as anybody has looked."""

LEAST_BYTES = 8192
MOST_TROUBLE = 0.25
"""A test in which more of the requests failed says nothing: speedtest-cli would count on as if they had been there."""

LOST_PROBE_MS = 3600 / 6 * 1000
"""speedtest-cli enters 3600 s for a latency probe that failed, and divides by six."""


class GaveUp(Exception):  # noqa: N818 - a finding, not an error
    """The test cannot go on; ``trouble`` says why."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble["kind"])
        self.trouble = trouble


def streams(max_bytes: int | None) -> int:
    """Return how many connections to use at once."""
    return STREAMS if max_bytes is None else max(1, min(STREAMS, max_bytes // STREAM_BYTES))


class _Spent:
    """speedtest-cli's event of a shutdown: set when the byte cap is reached."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def isSet(self) -> bool:  # noqa: N802 - speedtest-cli calls it so
        """Say whether to stop."""
        return self._ledger.is_spent()


class _SpentError(OSError):
    """No request more; speedtest-cli passes over it as over any other that failed."""


class _Opener:
    """speedtest-cli's opener, with a witness."""

    def __init__(self, opener: Any, ledger: Ledger) -> None:
        self._opener = opener
        self._ledger = ledger

    def open(self, request: Any) -> Any:
        """Open as ever, and note what goes wrong but for our own stop."""
        if self._ledger.is_spent():  # speedtest-cli looks at the event after opening
            raise _SpentError
        self._ledger.requests += 1
        try:
            return _Answer(self._opener.open(request), self._ledger)
        except speedtest.SpeedtestUploadTimeout:
            raise
        except Exception as error:
            self._ledger.latest = trouble_of(error, _operation(self._ledger))
            self._ledger.note(self._ledger.latest)
            raise


class _Answer:
    """A response, with a witness."""

    def __init__(self, response: Any, ledger: Ledger) -> None:
        self._response = response
        self._ledger = ledger

    def read(self, count: int | None = None) -> bytes:
        """Read as ever, and note a body that ends too soon or is no answer to an upload."""
        try:
            data: bytes = self._response.read() if count is None else self._response.read(count)
        except Exception as error:
            self._ledger.note(trouble_of(error, _operation(self._ledger)))
            raise
        if self._ledger.phase == UPLOAD and not data.startswith(b"size="):
            self._ledger.note({"operation": "send", "kind": "garbage"})
        elif not data and self._response.length:
            self._ledger.note({"operation": _operation(self._ledger), "kind": "closed"})
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)


def _operation(ledger: Ledger) -> str:
    return {DOWNLOAD: "receive", UPLOAD: "send"}.get(ledger.phase, "http_request")


class Tester(speedtest.Speedtest):  # type: ignore[misc]
    """One test against ``server`` (its URL), or against the nearest of the public servers if that is ``None``."""

    def __init__(self, ledger: Ledger, server: str | None, max_duration_s: float, max_bytes: int | None) -> None:
        self._ledger = ledger
        self.config: dict[str, Any] = {}
        self._opener: Any = None
        self._own = server
        self._max_duration_s = max_duration_s
        self._streams = streams(max_bytes)
        super().__init__(
            timeout=10, secure=True if server is None else server.startswith("https:"), shutdown_event=_Spent(ledger)
        )

    def get_config(self) -> dict[str, Any]:
        """Tell speedtest-cli what it would ask www.speedtest.net for, or ask and keep our own limits."""
        self._opener = _Opener(self._opener, self._ledger)
        if self._own is None:
            self._get_public_config()
        else:
            self.config = {
                "client": {},
                "ignore_servers": [],
                "sizes": {"upload": FORMS, "download": PICTURES},
                "counts": {"upload": 17, "download": 4},
                "upload_max": 51,
            }
            self.lat_lon = (0.0, 0.0)
        self.config["threads"] = {"upload": self._streams, "download": self._streams}
        self.config["length"] = {"upload": self._max_duration_s, "download": self._max_duration_s}
        return self.config

    def _get_public_config(self) -> None:
        try:
            super().get_config()
        except speedtest.SpeedtestHTTPError as error:
            raise GaveUp(self._ledger.latest or trouble_of(error, "http_request")) from error
        except MemoryError:
            raise
        except Exception as error:  # whatever it stumbles over, it is what came as a configuration
            raise GaveUp({"operation": "http_request", "kind": "garbage"}) from error

    def choose(self) -> tuple[str, float | None]:
        """Find the server; return its URL and an idle round trip in seconds, if one came out. Raises `GaveUp`."""
        servers = [self._own_server(self._own)] if self._own is not None else self._public_servers()
        best = self.get_best_server(servers)
        ping_ms = float(best["latency"])
        if ping_ms >= 3 * LOST_PROBE_MS:
            raise GaveUp(self._ledger.latest or {"operation": "http_request", "kind": "garbage"})
        return str(best["url"]), None if ping_ms >= LOST_PROBE_MS else ping_ms / 1000

    def _own_server(self, url: str) -> dict[str, Any]:
        form = f"{url}/speedtest/upload.php"
        try:
            answer = self._opener.open(speedtest.build_request(form))
            said = answer.read(64)
            answer.close()
        except Exception as error:
            raise GaveUp(trouble_of(error, "http_request")) from error
        if not said.startswith(b"size="):
            raise GaveUp({"operation": "http_request", "kind": "garbage"})
        return {"url": form, "id": 0, "name": url, "sponsor": "", "d": 0, "latency": 0}

    def _public_servers(self) -> list[dict[str, Any]]:
        try:
            nearest: list[dict[str, Any]] = self.get_closest_servers()
        except MemoryError:
            raise
        except Exception as error:  # whatever it stumbles over, it is what came as a list
            raise GaveUp({"operation": "http_request", "kind": "garbage"}) from error
        if not nearest:
            raise GaveUp(self._ledger.latest or {"operation": "http_request", "kind": "no_server"})
        return nearest

    def measure(self, direction: str) -> dict[str, Any]:
        """Run one direction; return its numbers. Raises :class:`GaveUp` if they would say nothing."""
        self._ledger.begin(direction)
        began_s = time.monotonic()
        if direction == DOWNLOAD:
            self.download(threads=self._streams)
            payload_bytes = self.results.bytes_received
        else:
            self.upload(pre_allocate=False, threads=self._streams)
            payload_bytes = self.results.bytes_sent - self._ledger.undelivered_bytes
        # Not to the end of the last thread: one that waits for a dead connection would make the line look slow.
        elapsed_s = self._ledger.last_moved_s - began_s
        self._judge(payload_bytes, elapsed_s)
        return {
            "direction": direction,
            "bps": payload_bytes * 8 / elapsed_s,
            "duration_s": elapsed_s,
            "streams": self._streams,
            "stop": "time" if elapsed_s >= 0.95 * self._max_duration_s and not self._ledger.is_spent() else "bytes",
        }

    def _judge(self, payload_bytes: int, elapsed_s: float) -> None:
        troubles = self._ledger.troubles
        if len(troubles) > MOST_TROUBLE * self._ledger.requests:
            raise GaveUp(troubles[0])
        if payload_bytes < LEAST_BYTES or elapsed_s <= 0:
            raise GaveUp(troubles[0] if troubles else {"operation": _operation(self._ledger), "kind": "no_data"})
