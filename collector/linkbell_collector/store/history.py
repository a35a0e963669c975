"""Sums read for charts: one school's hours or days, on any database."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from linkbell_collector.store import rollups
from linkbell_collector.store.rollups import Sums
from linkbell_collector.store.schema import agents, daily, hourly, series


@dataclass(frozen=True, slots=True)
class HistoryWanted:
    """Which sums: of a school, of these kinds of record, from ``first`` on and before ``end``.

    In microseconds since 1970 for hours; in days since 1970-01-01, of the school's own, for days.
    """

    school: str
    kinds: Sequence[str]
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class SeriesSums:
    """The sums of one series in one hour or day (``at``: as in :class:`HistoryWanted`)."""

    agent: str
    kind: str
    uplink: str
    target: str
    at: int
    sums: Sums


def read_hours(connection: sa.Connection, wanted: HistoryWanted) -> list[SeriesSums]:
    """Return the hours of every series, by agent, kind, uplink, target and time."""
    return _read(connection, hourly, hourly.c.start_us, wanted)


def read_days(connection: sa.Connection, wanted: HistoryWanted) -> list[SeriesSums]:
    """Return the days of every series, by agent, kind, uplink, target and time."""
    return _read(connection, daily, daily.c.day, wanted)


def _read(connection: sa.Connection, table: sa.Table, time: sa.Column[int], wanted: HistoryWanted) -> list[SeriesSums]:
    query = (
        sa.select(agents.c.id, series.c.kind, series.c.uplink, series.c.target, time)
        .add_columns(*(table.c[name] for name in rollups.COLUMNS))
        .select_from(agents)
        .join(series, series.c.agent == agents.c.key)
        .join(table, table.c.series == series.c.id)
        .where(agents.c.school == wanted.school, series.c.kind.in_(wanted.kinds))
        .where(time >= wanted.first, time < wanted.end)
        .order_by(agents.c.id, series.c.kind, series.c.uplink, series.c.target, time)
    )
    return [
        SeriesSums(agent, kind, uplink, target, at, Sums(*sums))
        for agent, kind, uplink, target, at, *sums in connection.execute(query)
    ]
