"""Makes the sums of records that an SQLite database held before it had sums: part of a migration."""

import sqlalchemy as sa

from linkbell_collector.domain import TimeQuality
from linkbell_collector.store import rollups, rows, sqlite_ingest
from linkbell_collector.store.rollups import Gathered, Sums
from linkbell_wire import AnyRecord, SpeedRecord

_RECORDS = (
    "SELECT records.id, records.series, records.at_us, records.clock, CAST(records.body AS BLOB), "
    "coalesce(schools.timezone, 'UTC'), series.agent FROM records "
    "JOIN series ON series.id = records.series JOIN agents ON agents.key = series.agent "
    "JOIN schools ON schools.id = agents.school WHERE records.id > ? ORDER BY records.id LIMIT ?"
)
_AT_ONCE = 20_000
"""Records read and summed before their sums are added to the tables."""


class _Gathering:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.sums: dict[tuple[int, int], Gathered] = {}

    def take(self, record: AnyRecord, series: int, agent: int, quarter: int, zone: str) -> None:
        """Add one record."""
        parts = list(rollups.directions(record)) if isinstance(record, SpeedRecord) else []
        if not parts:
            rollups.add_record(self._at(series, quarter, zone), record)
        for direction, result in parts:
            key = (agent, record.kind, record.uplink, direction)
            rollups.add_direction(self._at(sqlite_ingest.series_id(self._connection, key), quarter, zone), result)

    def _at(self, series: int, quarter: int, zone: str) -> Sums:
        return self.sums.setdefault((series, quarter), Gathered(series, quarter, zone, Sums())).sums


def sum_up(connection: sa.Connection) -> None:
    """Add every dated record there is to the sums, which must be empty."""
    last = -1
    while True:
        found = connection.exec_driver_sql(_RECORDS, (last, _AT_ONCE)).all()
        if not found:
            return
        gathering = _Gathering(connection)
        for number, series, at_us, clock, body, zone, agent in found:
            last = number
            dated = rows.dated_record(at_us, clock, body)
            if dated is not None and dated.quality is not TimeQuality.UNSYNCED:
                gathering.take(dated.record, series, agent, at_us // rollups.QUARTER_US, zone)
        sqlite_ingest.add_sums(connection, gathering.sums.values(), oldest_hour_us=0)
