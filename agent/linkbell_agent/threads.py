"""Blocking calls beside the event loop, in daemon threads that never keep the agent from stopping.

asyncio's own executor joins its threads at exit: one name server that swallows queries would hold SIGTERM up for
half a minute. A daemon thread may simply be left behind.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

_under_way = 0

P = ParamSpec("P")
T = TypeVar("T")


def under_way() -> int:
    """Return how many calls have been asked for and not ended, for whoever simulates time: they take real time."""
    return _under_way


class BlockingCalls:
    """Independent calls, each in a thread of its own, at most ``limit`` under way; one more waits.

    Each kind of call has its own limit: a dead resolver must not keep reports from leaving.
    """

    def __init__(self, limit: int) -> None:
        self._slots = threading.BoundedSemaphore(limit)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` and return what it returns, or raise what it raises.

        Cancelling leaves the thread to finish by itself and drops its result.
        """
        while not self._slots.acquire(blocking=False):  # noqa: ASYNC110 - a thread-safe slot has no event to await
            await asyncio.sleep(0.05)
        job = _Job(lambda: function(*args, **kwargs), asyncio.get_running_loop())

        def work() -> None:
            try:
                job.do()
            finally:
                self._slots.release()

        try:
            threading.Thread(target=work, name="linkbell-call", daemon=True).start()
        except RuntimeError:  # no thread can be had: the box is at its limits
            self._slots.release()
            job.drop()
            raise
        result: T = await job.future
        return result


class Worker:
    """One thread that does one thing after another, in the order they were asked for.

    Cancelling a waiter neither stops nor overtakes its job: what was begun is ended before the next begins.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._name = name
        self._started = False

    async def run(self, function: Callable[[], T]) -> T:
        """Run ``function`` after everything asked for before, and return what it returns, or raise what it raises."""
        job = _Job(function, asyncio.get_running_loop())
        self._jobs.put(job)
        if not self._started:
            self._started = True
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        result: T = await job.future
        return result

    def _work(self) -> None:
        while True:
            self._jobs.get().do()


class _Job:
    """A call, and the future its outcome goes to."""

    def __init__(self, function: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        global _under_way  # noqa: PLW0603 - one number of the process; only the loop's thread writes it
        _under_way += 1
        self._function = function
        self._loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()

    def do(self) -> None:
        """Make the call; runs in a thread."""
        result: Any = None
        error: BaseException | None = None
        try:
            result = self._function()
        except BaseException as caught:  # noqa: BLE001 - carried over to the caller, whatever it is
            error = caught
        try:
            self._loop.call_soon_threadsafe(self._settle, result, error)
        except RuntimeError:
            return  # the loop has ended: nobody waits any more

    def drop(self) -> None:
        """Forget a call that will not be made."""
        self.future.cancel()
        self._settle(None, None)

    def _settle(self, result: object, error: BaseException | None) -> None:
        global _under_way  # noqa: PLW0603 - see above
        _under_way -= 1
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)
