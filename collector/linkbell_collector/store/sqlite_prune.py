"""Removes what is kept no longer from SQLite, a few hundred rows at a time. Runs in the writer's thread only."""

from dataclasses import dataclass

import sqlalchemy as sa

from linkbell_collector.store.retention import DAY_US, Pruned, Retention

RECORDS_AT_ONCE = 500
"""Records looked at in one step: a few milliseconds, after which whoever waits to write gets a turn."""

SERIES_AT_ONCE = 500
PAGES_AT_ONCE = 500
"""Free pages given back to the file system in one step (2 MB)."""

_FREE_SHARE = 0.25
"""So much of the file may be free: it is filled again. Only what is beyond is given back."""

_PIECE = "SELECT id, received_us FROM records WHERE id > ? ORDER BY id LIMIT ?"
_DELETE_RECORDS = "DELETE FROM records WHERE id > ? AND id <= ? AND received_us < ?"
_SERIES = "SELECT max(id) FROM (SELECT id FROM series WHERE id > ? ORDER BY id LIMIT ?)"
_DELETE_HOURS = "DELETE FROM hourly WHERE series IN (SELECT id FROM series WHERE id > ? AND id <= ?) AND start_us < ?"


@dataclass(slots=True)
class SqlitePrune:
    """Goes through records from the oldest on, then through the series for their hours, then gives pages back."""

    retention: Retention
    _record: int = 0
    _series: int = 0
    _hours_day: int = -1

    def step(self, connection: sa.Connection, now_us: int) -> Pruned:
        """Do one step. The caller commits."""
        done = self._records(connection, now_us)
        if done.more:
            return done
        self._record = 0
        # Hours become too old one by one: to look once a day is enough.
        if now_us // DAY_US != self._hours_day:
            return self._hours(connection, now_us)
        return Pruned(more=_give_back(connection))

    def _records(self, connection: sa.Connection, now_us: int) -> Pruned:
        """Records lie in the order they were received; those of a clock that was ahead are stepped over."""
        oldest_us = self.retention.oldest_received_us(now_us)
        piece = connection.exec_driver_sql(_PIECE, (self._record, RECORDS_AT_ONCE)).all()
        if all(oldest_us <= received_us <= now_us + DAY_US for _, received_us in piece):
            return Pruned()
        first, self._record = self._record, piece[-1][0]
        deleted = connection.exec_driver_sql(_DELETE_RECORDS, (first, self._record, oldest_us)).rowcount
        return Pruned(records=deleted, more=True)

    def _hours(self, connection: sa.Connection, now_us: int) -> Pruned:
        last = connection.exec_driver_sql(_SERIES, (self._series, SERIES_AT_ONCE)).scalar()
        if last is None:
            self._series, self._hours_day = 0, now_us // DAY_US
            return Pruned(more=True)
        oldest_us = self.retention.oldest_hour_us(now_us)
        deleted = connection.exec_driver_sql(_DELETE_HOURS, (self._series, last, oldest_us)).rowcount
        self._series = last
        return Pruned(hours=deleted, more=True)


def _give_back(connection: sa.Connection) -> bool:
    """Give free pages back, and return whether there is more to give. Databases made before this cannot."""
    free = int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())
    pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    if free - _FREE_SHARE * pages <= PAGES_AT_ONCE:
        return False
    for _ in range(PAGES_AT_ONCE):
        # One by one: the statement has a step for each page, and sqlite3 makes only the first.
        connection.exec_driver_sql("PRAGMA incremental_vacuum(1)").close()
    return int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()) < free
