"""Settled numbers as bits, records without an index for them, sums per hour and day; on PostgreSQL, partitions."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

Int64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
CHUNK = 1024


def upgrade() -> None:
    """Make the tables, and bring over what there is. Frozen: a later change is a new migration."""
    op.add_column("streams", sa.Column("whole", Int64, nullable=False, server_default="0"))
    op.create_table(
        "settled",
        sa.Column("stream", sa.Integer, sa.ForeignKey("streams.id"), primary_key=True),
        sa.Column("chunk", Int64, primary_key=True),
        sa.Column("bits", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "changes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("count", Int64, nullable=False),
        sqlite_strict=True,
    )
    op.execute("INSERT INTO changes (id, count) VALUES (1, 0)")
    if op.get_bind().dialect.name == "postgresql":
        _on_postgresql()
    else:
        _on_sqlite()


def _sums() -> list[sa.Column[int]]:
    names = ("count", "failures", "sent", "received", "measured", "total")
    columns = [sa.Column(name, Int64, nullable=False) for name in names]
    columns += [sa.Column("low", Int64), sa.Column("high", Int64)]
    return columns + [sa.Column(name, Int64, nullable=False) for name in ("passed", "bytes")]


def _make_sums(name: str, time: sa.Column[int], **options: Any) -> None:
    series = sa.Column("series", sa.Integer, primary_key=True, autoincrement=False)
    op.create_table(name, series, time, *_sums(), **options)


def _on_sqlite() -> None:
    options: dict[str, Any] = {"sqlite_strict": True, "sqlite_with_rowid": False}
    _make_sums("hourly", sa.Column("start_us", Int64, primary_key=True), **options)
    _make_sums("daily", sa.Column("day", sa.Integer, primary_key=True), **options)
    connection = op.get_bind()
    _mark_settled(connection)
    op.execute("ALTER TABLE records RENAME TO old_records")
    op.execute("DROP INDEX records_series_at")
    op.create_table(
        "records",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("stream", sa.Integer, nullable=False),
        sa.Column("seq", Int64, nullable=False),
        sa.Column("series", sa.Integer, nullable=False),
        sa.Column("at_us", Int64, nullable=False),
        sa.Column("received_us", Int64, nullable=False),
        sa.Column("clock", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    columns = "id, stream, seq, series, at_us, received_us, clock, body"
    op.execute(f"INSERT INTO records ({columns}) SELECT {columns} FROM old_records ORDER BY id")  # noqa: S608
    op.execute("DROP TABLE old_records")
    op.create_index("records_series_at", "records", ["series", "at_us"])
    _sum_up(connection)


def _mark_settled(connection: sa.Connection) -> None:
    """Set the bit of every number that was stored or refused."""
    query = "SELECT stream, seq FROM records UNION SELECT stream, seq FROM refusals ORDER BY stream, seq"
    current: tuple[int, int] | None = None
    bits = 0
    for stream, seq in connection.exec_driver_sql(query):
        chunk = (stream, seq // CHUNK)
        if chunk != current:
            _insert_bits(connection, current, bits)
            current, bits = chunk, 0
        bits |= 1 << (seq % CHUNK)
    _insert_bits(connection, current, bits)


def _insert_bits(connection: sa.Connection, chunk: tuple[int, int] | None, bits: int) -> None:
    if chunk is not None:
        statement = "INSERT INTO settled (stream, chunk, bits) VALUES (?, ?, ?)"
        connection.exec_driver_sql(statement, (*chunk, bits.to_bytes(CHUNK // 8, "little")))


def _sum_up(connection: sa.Connection) -> None:
    """Make the sums of what is stored already, as ingest makes them of what comes."""
    # Not frozen as the rest is: what a sum means must be the same for old and new records.
    from linkbell_collector.store.resum import sum_up

    sum_up(connection)


def _on_postgresql() -> None:
    """PostgreSQL starts with this migration: there is nothing to bring over."""
    op.drop_table("records")
    op.execute(
        "CREATE TABLE records (stream integer NOT NULL, seq bigint NOT NULL, series integer NOT NULL, "
        "at_us bigint NOT NULL, received_us bigint NOT NULL, clock integer NOT NULL, body text NOT NULL) "
        "PARTITION BY RANGE (received_us)"
    )
    op.create_index("records_series_at", "records", ["series", "at_us"])
    _make_sums(
        "hourly",
        sa.Column("start_us", Int64, primary_key=True, autoincrement=False),
        postgresql_partition_by="RANGE (start_us)",
    )
    _make_sums("daily", sa.Column("day", sa.Integer, primary_key=True, autoincrement=False))
    # PostgreSQL's real has four bytes: too few for coordinates.
    short = sa.text(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND data_type = 'real'"
    )
    for table, column in op.get_bind().execute(short).all():
        op.alter_column(table, column, type_=sa.Double())
