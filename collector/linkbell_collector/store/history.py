"""Sums read for charts: one school's hours or days, on any database."""

import sqlalchemy as sa

from linkbell_collector.store import rollups
from linkbell_collector.store.rollups import HistoryWanted, SeriesSums, Sums
from linkbell_collector.store.schema import agents, daily, hourly, series


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
