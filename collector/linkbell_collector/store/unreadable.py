"""Counts stored records that cannot be read, and says so once."""

import logging

log = logging.getLogger(__name__)


class Unreadable:
    """How many there were, each time they were met."""

    def __init__(self) -> None:
        self.count = 0

    def meet(self, number: int = 1) -> None:
        """Count some."""
        if number and not self.count:
            log.error(
                "%d stored records cannot be read and are left out, all others go on; the disk may be failing, or "
                "another program has written to it (said once; linkbell_collector_unreadable_records counts on)",
                number,
            )
        self.count += number
