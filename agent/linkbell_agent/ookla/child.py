"""The test process: ``python -m linkbell_agent.ookla.child``. A job comes in on standard input, reports go out.

Every line is a JSON object: which phase the test is in, what it is trying, how many bytes each phase has moved, and
perhaps news. Standard input stays open; when it closes, the agent has gone, and so do we.
"""

import json
import math
import os
import signal
import sys
import threading
import time
from typing import Any

from linkbell_agent.ookla.sockets import Dialler, Ledger, Trouble, trouble_of

INTERVAL_S = 0.2
STACK_BYTES = 1 << 19
"""speedtest-cli has twenty threads; the usual 8 MiB of stack each count where memory is limited."""

ALARM_S = 5
"""If the agent itself hangs, the kernel ends us this long after it should have."""


class Reporter:
    """Writes the lines, from several threads."""

    def __init__(self, descriptor: int, ledger: Ledger) -> None:
        self._descriptor = descriptor
        self._ledger = ledger
        self._lock = threading.Lock()

    def say(self, **news: Any) -> None:
        """Write one line, whole."""
        moved = self._ledger.moved()
        state = {"phase": self._ledger.phase, "operation": self._ledger.operation, "moved": moved}
        line = json.dumps(state | news).encode() + b"\n"
        with self._lock:
            while line:
                line = line[os.write(self._descriptor, line) :]

    def say_all_the_time(self) -> None:
        """Report progress until the process ends."""
        while True:
            self.say()
            time.sleep(INTERVAL_S)


def main() -> None:
    """Do the job; ends the process."""
    descriptor = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody else's words among the reports
    threading.stack_size(STACK_BYTES)
    job = json.loads(sys.stdin.buffer.readline())
    signal.alarm(math.ceil(job["limit_s"]) + ALARM_S)
    ledger = Ledger(job["max_bytes"])
    reporter = Reporter(descriptor, ledger)

    def give_up(trouble: Trouble) -> None:
        reporter.say(failure=trouble, end=True)
        os._exit(0)

    # A thread of speedtest-cli's that dies leaves the others waiting for ever.
    threading.excepthook = lambda raised: give_up(_fault(raised.exc_value or raised.exc_type()))
    try:
        for watch in (_leave_with_the_agent, reporter.say_all_the_time):
            threading.Thread(target=watch, daemon=True).start()
        _test(job, ledger, reporter)
    except BaseException as error:  # noqa: BLE001 - the process ends here, and says why
        give_up(_fault(error))
    reporter.say(end=True)
    os._exit(0)  # waits for no thread


def _test(job: dict[str, Any], ledger: Ledger, reporter: Reporter) -> None:
    try:
        from linkbell_agent.ookla import (  # need speedtest-cli, which an agent may have been installed without
            overrides,
            tester,
        )
    except ModuleNotFoundError as error:
        if error.name != "speedtest":
            raise
        reporter.say(failure={"operation": "run", "kind": "missing"})
        return
    cap = job["max_bytes"]
    # All connections together may have a quarter of the cap on its way: what is on its way comes, and is paid for.
    window_bytes = None if cap is None else cap // (4 * tester.streams(cap))
    dialler = Dialler(ledger, job["device"], job["source"], window_bytes, job["addresses"])
    overrides.install(ledger, dialler, job["test"])
    try:
        test = tester.Tester(ledger, job["server"], job["max_duration_s"], cap)
        server, rtt_idle_s = test.choose()
    except tester.GaveUp as gave_up:
        reporter.say(failure=gave_up.trouble)
        return
    reporter.say(server=server, rtt_idle_s=rtt_idle_s)
    for direction in job["directions"]:
        try:
            reporter.say(result=test.measure(direction))
        except tester.GaveUp as gave_up:
            reporter.say(failure=gave_up.trouble)


def _fault(error: BaseException) -> Trouble:
    if isinstance(error, RuntimeError) and "thread" in str(error):  # "can't start new thread"
        error = MemoryError()
    trouble = trouble_of(error, "run")
    return trouble if trouble["kind"] == "memory" else {"operation": "run", "kind": "fault"}


def _leave_with_the_agent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
