"""Blocking calls beside the event loop, in threads that never keep the agent from stopping.

asyncio's own executor joins its threads at exit: one name server that swallows queries would hold SIGTERM up for
half a minute. A daemon thread may simply be left behind.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MAX_THREADS = 16
"""How many blocking calls may be under way; one more waits. A hung resolver must not eat the box's memory."""

_slots = threading.BoundedSemaphore(MAX_THREADS)


async def run_blocking(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``function`` in a daemon thread and return what it returns, or raise what it raises.

    Cancelling leaves the thread to finish by itself and drops its result.
    """
    while not _slots.acquire(blocking=False):  # noqa: ASYNC110 - a thread-safe slot has no event to await
        await asyncio.sleep(0.05)
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = function(*args, **kwargs)
        except BaseException as caught:  # noqa: BLE001 - carried over to the caller, whatever it is
            error = caught
        finally:
            _slots.release()
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            return  # the loop has ended: nobody waits any more

    try:
        threading.Thread(target=work, name=f"linkbell-{getattr(function, '__name__', 'call')}", daemon=True).start()
    except RuntimeError:  # no thread can be had: the box is at its limits
        _slots.release()
        raise
    return await future
