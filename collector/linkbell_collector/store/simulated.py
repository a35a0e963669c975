"""Removing what was simulated, in pieces. Any SQL database; every function takes the connection of a transaction."""

from collections.abc import Sequence

import sqlalchemy as sa

from linkbell_collector.domain import AgentState
from linkbell_collector.store.schema import (
    agents,
    daily,
    hourly,
    records,
    refusals,
    schools,
    series,
    settled,
    streams,
    tokens,
)

PIECE_RECORDS = 20_000
"""Records removed in one transaction: about a fifth of a second, in which agents wait for their answer."""

_SCHOOLS = sa.select(schools.c.id).where(schools.c.simulated == 1)
_AGENTS = sa.select(agents.c.key).where(agents.c.school.in_(_SCHOOLS))
_SERIES = sa.select(series.c.id).where(series.c.agent.in_(_AGENTS))
_STREAMS = sa.select(streams.c.id).where(streams.c.agent.in_(_AGENTS))


def revoke(connection: sa.Connection) -> int:
    """Refuse the agents of simulated schools. Return how many such schools there are."""
    connection.execute(agents.update().where(agents.c.school.in_(_SCHOOLS)).values(state=AgentState.REVOKED.value))
    return int(connection.execute(sa.select(sa.func.count()).select_from(_SCHOOLS.subquery())).scalar_one())


def remove_records(connection: sa.Connection) -> int:
    """Remove some records of simulated schools. Return how many; 0 means that none is left."""
    some = sa.select(records.c.id).where(records.c.series.in_(_SERIES)).limit(PIECE_RECORDS)
    return connection.execute(records.delete().where(records.c.id.in_(some))).rowcount


def series_of_simulated(connection: sa.Connection) -> list[int]:
    """Return the series of simulated schools."""
    return list(connection.execute(_SERIES).scalars())


def remove_records_of(connection: sa.Connection, some: Sequence[int]) -> int:
    """Remove the records of some series, where records have no number of their own. Return how many."""
    return connection.execute(records.delete().where(records.c.series.in_(some))).rowcount


def remove_the_rest(connection: sa.Connection) -> tuple[int, int]:
    """Remove all but the records, which must be gone. Return how many schools and agents."""
    used = list(connection.execute(sa.select(agents.c.token).where(agents.c.school.in_(_SCHOOLS))).scalars())
    connection.execute(refusals.delete().where(refusals.c.stream.in_(_STREAMS)))
    connection.execute(settled.delete().where(settled.c.stream.in_(_STREAMS)))
    for sums in (hourly, daily):
        connection.execute(sums.delete().where(sums.c.series.in_(_SERIES)))
    connection.execute(series.delete().where(series.c.agent.in_(_AGENTS)))
    connection.execute(streams.delete().where(streams.c.agent.in_(_AGENTS)))
    agents_gone = connection.execute(agents.delete().where(agents.c.school.in_(_SCHOOLS))).rowcount
    connection.execute(tokens.delete().where(tokens.c.school.in_(_SCHOOLS)))
    still_used = sa.select(agents.c.token)
    for token in set(used):
        connection.execute(tokens.delete().where((tokens.c.id == token) & tokens.c.id.not_in(still_used)))
    return connection.execute(schools.delete().where(schools.c.simulated == 1)).rowcount, agents_gone
