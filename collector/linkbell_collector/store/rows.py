"""Rows to domain objects and back, and the small transactions of operators and enrolment. Any SQL database.

Every function takes the connection of a transaction that its caller opened.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

import sqlalchemy as sa

from linkbell_collector.domain import (
    Agent,
    AgentReport,
    AgentState,
    DatedRecord,
    Directory,
    Enrolled,
    School,
    SchoolEdits,
    TimeQuality,
    Token,
)
from linkbell_collector.enrolment import Before, Grant, decide, wanted_school
from linkbell_collector.errors import RefusedError
from linkbell_collector.loss import Account
from linkbell_collector.profile import NO_WISHES, NOTHING, Profile, W, as_text
from linkbell_collector.secret import digest, new_id
from linkbell_collector.store import schema as tables
from linkbell_collector.store.schema import agents, regions, schools, series, tokens
from linkbell_wire import AnyRecord
from linkbell_wire.enrolment import EnrolRequest
from linkbell_wire.records import RECORD_ADAPTER

log = logging.getLogger(__name__)
STEP = 1000
"""Schools written by one statement, and from one report of progress to the next."""


def read_directory(connection: sa.Connection) -> Directory:
    """Return all schools, agents and regions, in three queries."""
    return Directory(
        schools={row.id: _school(row) for row in connection.execute(sa.select(schools))},
        agents={row.credential_hash: _agent(row) for row in connection.execute(sa.select(agents))},
        regions={row.name: _settings(row.profile, NOTHING) for row in connection.execute(sa.select(regions))},
    )


def read_tokens(connection: sa.Connection) -> list[Token]:
    """Return all join tokens, newest first."""
    query = sa.select(tokens).order_by(tokens.c.created_us.desc(), tokens.c.id)
    return [_token(row) for row in connection.execute(query)]


def insert_school(connection: sa.Connection, school: School, now_us: int) -> None:
    """Add a school. Raises :class:`RefusedError` if there is one with its id."""
    if find_school(connection, school.id) is not None:
        raise RefusedError(f"school {school.id} is known already", "change it with: schools add --update")
    connection.execute(schools.insert().values(**_school_values(school), created_us=now_us))


def update_school(connection: sa.Connection, school: School) -> None:
    """Replace a school. Raises :class:`RefusedError` if there is none with its id."""
    changed = connection.execute(schools.update().where(schools.c.id == school.id).values(**_school_values(school)))
    if changed.rowcount == 0:
        raise RefusedError(f"school {school.id} is not known", "list the schools with: schools list")


def put_schools(connection: sa.Connection, schools: Sequence[School], now_us: int) -> None:
    """Add schools, or replace what is known of them."""
    for school in schools:
        if find_school(connection, school.id) is None:
            insert_school(connection, school, now_us)
        else:
            update_school(connection, school)


def find_school(connection: sa.Connection, school_id: str) -> School | None:
    """Return the school with this id."""
    row = connection.execute(sa.select(schools).where(schools.c.id == school_id)).one_or_none()
    return None if row is None else _school(row)


@dataclass(frozen=True, slots=True)
class SchoolSteps:
    """Many schools as statements and their rows: made before the database is locked, for it takes as long again."""

    edits: SchoolEdits
    statements: Sequence[tuple[sa.Insert | sa.Update, list[dict[str, object]]]]


def school_steps(edits: SchoolEdits, now_us: int) -> SchoolSteps:
    """Return what is to be written; of changed schools only the fields that are named."""
    steps: list[tuple[sa.Insert | sa.Update, list[dict[str, object]]]] = []
    values = [{**_school_values(school), "created_us": now_us} for school in edits.added]
    steps += [(schools.insert(), values[start : start + STEP]) for start in range(0, len(values), STEP)]
    by_fields: dict[frozenset[str], list[School]] = {}
    for school, names in edits.changed:
        by_fields.setdefault(names, []).append(school)
    for names, changed in by_fields.items():
        update = schools.update().where(schools.c.id == sa.bindparam("of_id"))
        update = update.values({name: sa.bindparam(f"new_{name}") for name in names})
        values = [_changed_values(school, names) for school in changed]
        steps += [(update, values[start : start + STEP]) for start in range(0, len(values), STEP)]
    return SchoolSteps(edits, steps)


def edit_schools(connection: sa.Connection, steps: SchoolSteps, progress: Callable[[int], None]) -> None:
    """Add and change many schools, a step at a time. Raises :class:`RefusedError` before anything is written."""
    _require_unchanged(set(connection.scalars(sa.select(schools.c.id))), steps.edits)
    done = 0
    for statement, values in steps.statements:
        connection.execute(statement, values)
        done += len(values)
        progress(done)


def _require_unchanged(known: set[str], edits: SchoolEdits) -> None:
    added = next((school.id for school in edits.added if school.id in known), None)
    gone = next((school.id for school, _ in edits.changed if school.id not in known), None)
    if added is not None or gone is not None:
        what = f"school {added} was added" if added is not None else f"school {gone} has gone"
        raise RefusedError(f"{what} meanwhile; nothing was changed", "do it again: it then goes by what is known now")


def _changed_values(school: School, names: frozenset[str]) -> dict[str, object]:
    values = _school_values(school)
    return {"of_id": school.id, **{f"new_{name}": values[name] for name in names}}


def set_region(connection: sa.Connection, name: str, profile: Profile | None) -> None:
    """Keep what is set for a region, or nothing any more. Raises :class:`RefusedError` if there was nothing."""
    gone = connection.execute(regions.delete().where(regions.c.name == name))
    if profile is not None:
        connection.execute(regions.insert().values(name=name, profile=as_text(profile)))
    elif gone.rowcount == 0:
        raise RefusedError(f"nothing is set for region {name}", "list what is set with: regions list")


def insert_token(connection: sa.Connection, token: Token, token_hash: bytes) -> bool:
    """Add a join token, and its school if that is new. Return whether the school was made."""
    created = token.school is not None and find_school(connection, token.school) is None
    if created and token.school is not None:
        insert_school(connection, School(token.school), token.created_us)
    connection.execute(
        tokens.insert().values(
            id=token.id,
            hash=token_hash,
            school=token.school,
            region=token.region,
            uses=token.uses,
            used=token.used,
            expires_us=token.expires_us,
            created_us=token.created_us,
        )
    )
    return created


def revoke_token(connection: sa.Connection, token_id: str, now_us: int) -> None:
    """Make a join token useless. Raises :class:`RefusedError` if it is not known."""
    update = tokens.update().where(tokens.c.id == token_id)
    revoked_us = sa.func.coalesce(tokens.c.revoked_us, now_us)
    if connection.execute(update.values(revoked_us=revoked_us)).rowcount == 0:
        raise RefusedError(f"there is no join token {token_id}", "list them with: tokens list")


def set_agent_state(connection: sa.Connection, agent_id: str, state: AgentState) -> Agent:
    """Approve (with its school) or revoke an agent. Raises :class:`RefusedError`."""
    row = connection.execute(sa.select(agents).where(agents.c.id == agent_id)).one_or_none()
    if row is None:
        raise RefusedError(f"there is no agent {agent_id}", "list them with: agents list")
    if state is AgentState.ACTIVE and row.state == AgentState.REVOKED:
        raise RefusedError(f"agent {agent_id} was revoked, and stays so", "enrol the box anew with a new join token")
    connection.execute(agents.update().where(agents.c.id == agent_id).values(state=state.value))
    if state is AgentState.ACTIVE:
        connection.execute(schools.update().where(schools.c.id == row.school).values(approved=1))
    return _agent(connection.execute(sa.select(agents).where(agents.c.id == agent_id)).one())


def enrol(connection: sa.Connection, request: EnrolRequest, credential_hash: bytes, now_us: int) -> Enrolled:
    """Take a join token for a credential. Raises ``CollectorError`` before anything is written."""
    row = connection.execute(sa.select(tokens).where(tokens.c.hash == digest(request.token))).one_or_none()
    token = None if row is None else _token(row)
    school = None if token is None else find_school(connection, wanted_school(request, token))
    before = Before() if token is None else _before(connection, request, token)
    grant = decide(request, token, school, before, now_us)
    assert token is not None
    if grant.again is not None:
        connection.execute(
            agents.update().where(agents.c.key == grant.again.key).values(credential_hash=credential_hash)
        )
        return Enrolled(grant.again, school_created=False)
    if grant.create_school:
        school = School(grant.school, region=token.region, approved=False, simulated=bool(request.simulated))
        insert_school(connection, school, now_us)
    connection.execute(tokens.update().where(tokens.c.id == token.id).values(used=tokens.c.used + 1))
    keys = (token.id, credential_hash)
    if grant.renewed is not None:
        return Enrolled(_renew_agent(connection, grant.renewed, grant, keys), school_created=False)
    return Enrolled(_insert_agent(connection, request, grant, keys, now_us), grant.create_school)


def _renew_agent(connection: sa.Connection, agent: Agent, grant: Grant, keys: tuple[str, bytes]) -> Agent:
    values = {"state": grant.state.value, "token": keys[0], "credential_hash": keys[1]}
    renewed = agents.update().where(agents.c.key == agent.key).values(values).returning(*agents.c)
    return _agent(connection.execute(renewed).one())


def _insert_agent(
    connection: sa.Connection, request: EnrolRequest, grant: Grant, keys: tuple[str, bytes], now_us: int
) -> Agent:
    values = {
        "id": new_id("agent"),
        "school": grant.school,
        "name": request.name,
        "state": grant.state.value,
        "token": keys[0],
        "credential_hash": keys[1],
        "installation": None if request.installation is None else str(request.installation),
        "version": request.version,
        "enrolled_us": now_us,
        "missing": 0,
        "refused": 0,
        "dropped_before": 0,
        "rejected_before": 0,
    }
    return _agent(connection.execute(agents.insert().values(values).returning(*agents.c)).one())


def _before(connection: sa.Connection, request: EnrolRequest, token: Token) -> Before:
    if request.installation is None:
        return Before()
    same_box = agents.c.installation == str(request.installation)

    def newest(condition: sa.ColumnElement[bool]) -> Agent | None:
        query = sa.select(agents).where(same_box & condition).order_by(agents.c.enrolled_us.desc()).limit(1)
        row = connection.execute(query).one_or_none()
        return None if row is None else _agent(row)

    return Before(newest(agents.c.token == token.id), newest(agents.c.school == wanted_school(request, token)))


def series_of(connection: sa.Connection, *, agents: Collection[int], kinds: Sequence[str]) -> list[tuple[int, str]]:
    """Return the series of these kinds and agents, each with its school."""
    query = sa.select(series.c.id, series.c.agent, tables.agents.c.school).join_from(series, tables.agents)
    found = connection.execute(query.where(series.c.kind.in_(kinds)))
    wanted = frozenset(agents)  # filtered here: there may be more agents than a statement takes parameters
    return [(row.id, row.school) for row in found if row.agent in wanted]


def body_of(record: AnyRecord) -> str:
    """Return what is stored of a record: its JSON, with what is ``None`` left out."""
    # The serializer itself: model_dump_json costs a fifth more, and this runs for every record there is.
    return record.__pydantic_serializer__.to_json(record, exclude_none=True).decode()


def dated_record(at_us: int, clock: int, body: bytes) -> DatedRecord | None:
    """Return a stored record, or ``None`` if it cannot be read: the disk or somebody else has changed it."""
    try:
        record: AnyRecord = RECORD_ADAPTER.validate_json(body)
        return DatedRecord(record, at_us, TimeQuality(clock))
    except ValueError:  # pydantic's own is one too
        return None


def _school(row: sa.Row[tuple[object, ...]]) -> School:
    values = dict(row._mapping)
    del values["created_us"]
    wishes = _settings(values["wishes"], NO_WISHES)
    flags = {name: bool(values[name]) for name in ("approved", "simulated")}
    return School(**{**values, **flags, "wishes": wishes})


def _settings(text: str | None, nothing: W) -> W:
    """Read what is set; what cannot be read any more, or was written by a newer version, counts as not set."""
    return nothing if text is None else _read_settings(text, type(nothing)) or nothing


@lru_cache(4096)  # schools of one region often have the same, and then share it
def _read_settings(text: str, kind: type[W]) -> W | None:
    try:
        return kind.model_validate_json(text)
    except ValueError as error:
        log.error("what is set for a school or region cannot be read and does not hold: %s (%s)", text[:200], error)
        return None


def _school_values(school: School) -> dict[str, object]:
    columns = [column.name for column in schools.c if column.name != "created_us"]
    wishes = None if school.wishes == NO_WISHES else as_text(school.wishes)
    values = {name: getattr(school, name) for name in columns}
    return {**values, "approved": int(school.approved), "simulated": int(school.simulated), "wishes": wishes}


def _agent(row: sa.Row[tuple[object, ...]]) -> Agent:
    values = row._mapping
    report = None
    if values["report_us"] is not None:
        report = AgentReport(
            version=values["version"],
            spooled=values["spooled"],
            dropped=values["dropped"],
            rejected=values["rejected"],
            clock_offset_s=values["clock_offset_s"],
            received_us=values["report_us"],
        )
    return Agent(
        key=values["key"],
        id=values["id"],
        school=values["school"],
        state=AgentState(values["state"]),
        name=values["name"],
        report=report,
        account=Account(
            missing=values["missing"],
            refused=values["refused"],
            dropped=values["dropped_before"] + (values["dropped"] or 0),
            rejected=values["rejected_before"] + (values["rejected"] or 0),
        ),
        enrolled_us=values["enrolled_us"],
    )


def _token(row: sa.Row[tuple[object, ...]]) -> Token:
    values = row._mapping
    return Token(
        id=values["id"],
        school=values["school"],
        region=values["region"],
        uses=values["uses"],
        used=values["used"],
        expires_us=values["expires_us"],
        created_us=values["created_us"],
        revoked=values["revoked_us"] is not None,
    )
