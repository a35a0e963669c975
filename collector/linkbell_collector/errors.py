"""The one error type of the collector: what happened, what it means, what to do."""

from linkbell_wire import ErrorCode


class CollectorError(Exception):
    """A refusal or failure that a person is told about in words, never as a traceback.

    ``retry_after_s`` asks an agent to come back: it keeps everything meanwhile.
    """

    def __init__(
        self, code: ErrorCode, message: str, action: str | None = None, *, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.action = action
        self.retry_after_s = retry_after_s


class RefusedError(CollectorError):
    """A command or a start that cannot go on; nobody on the wire hears of it."""

    def __init__(self, message: str, action: str | None = None) -> None:
        super().__init__(ErrorCode.INTERNAL, message, action)


class UsageError(Exception):
    """A setting or an argument that makes no sense. The process exits with status 2."""
