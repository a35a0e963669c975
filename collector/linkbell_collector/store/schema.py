"""The tables, as SQLAlchemy Core sees them. Why they look like this: docs/decisions/0002-sqlite-layout.md and
0011-two-databases.md.

Times are whole microseconds since 1970 (UTC), rates bits per second, secrets SHA-256 hashes, wishes and profiles JSON.
The tables are made by the migrations; a test holds the two together, on SQLite and on PostgreSQL.
"""

import sqlalchemy as sa

HEAD = "0021"
"""Newest migration; a test compares it with the folder of migrations."""

metadata = sa.MetaData()

# SQLite's 64-bit integer is called INTEGER; other databases need the larger type by name.
Int64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# SQLite's 8-byte number is called REAL; PostgreSQL's REAL has 4 bytes, too few for coordinates.
Float64: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL(), "sqlite")

schools = sa.Table(
    "schools",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("region", sa.Text),
    sa.Column("district", sa.Text),
    sa.Column("provider", sa.Text),
    sa.Column("technology", sa.Text),
    sa.Column("latitude", Float64),
    sa.Column("longitude", Float64),
    sa.Column("timezone", sa.Text),
    sa.Column("download_floor_bps", Float64),
    sa.Column("upload_floor_bps", Float64),
    sa.Column("approved", sa.Integer, nullable=False),
    sa.Column("created_us", Int64, nullable=False),
    sa.Column("country", sa.Text),
    sa.Column("giga_id", sa.Text),
    sa.Column("contract_download_bps", Float64),
    sa.Column("contract_upload_bps", Float64),
    sa.Column("wishes", sa.Text),
    sa.Column("simulated", sa.Integer, nullable=False, server_default="0"),
    sqlite_strict=True,
)

regions = sa.Table(
    "regions",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("profile", sa.Text, nullable=False),
    sqlite_strict=True,
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("school", sa.Text, sa.ForeignKey("schools.id")),
    sa.Column("region", sa.Text),
    sa.Column("uses", sa.Integer, nullable=False),
    sa.Column("used", sa.Integer, nullable=False),
    sa.Column("expires_us", Int64, nullable=False),
    sa.Column("created_us", Int64, nullable=False),
    sa.Column("revoked_us", Int64),
    sa.CheckConstraint("(school IS NULL) <> (region IS NULL)", name="tokens_of_school_or_region"),
    sa.CheckConstraint("used BETWEEN 0 AND uses", name="tokens_used_within_uses"),
    sqlite_strict=True,
)

agents = sa.Table(
    "agents",
    metadata,
    sa.Column("key", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("school", sa.Text, sa.ForeignKey("schools.id"), nullable=False),
    sa.Column("name", sa.Text),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("credential_hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("token", sa.Text, sa.ForeignKey("tokens.id"), nullable=False),
    sa.Column("installation", sa.Text),
    sa.Column("enrolled_us", Int64, nullable=False),
    sa.Column("version", sa.Text),
    sa.Column("spooled", Int64),
    sa.Column("dropped", Int64),
    sa.Column("rejected", Int64),
    sa.Column("clock_offset_s", Float64),
    sa.Column("report_us", Int64),
    sa.Column("missing", Int64, nullable=False),
    sa.Column("refused", Int64, nullable=False),
    sa.Column("dropped_before", Int64, nullable=False, server_default="0"),
    sa.Column("rejected_before", Int64, nullable=False, server_default="0"),
    sa.CheckConstraint("state IN ('active', 'pending', 'revoked')", name="agents_state_known"),
    sa.Index("agents_school", "school"),
    sa.Index("agents_installation", "token", "installation", unique=True),
    sqlite_strict=True,
)

streams = sa.Table(
    "streams",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("agent", sa.Integer, sa.ForeignKey("agents.key"), nullable=False),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("max_seq", Int64, nullable=False),
    sa.Column("settled", Int64, nullable=False),
    sa.Column("whole", Int64, nullable=False, server_default="0"),
    sa.UniqueConstraint("agent", "stream"),
    sqlite_strict=True,
)

series = sa.Table(
    "series",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("agent", sa.Integer, sa.ForeignKey("agents.key"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("uplink", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.UniqueConstraint("agent", "kind", "uplink", "target"),
    sqlite_strict=True,
)

# On PostgreSQL partitioned by the day of receipt, and without the column id. No foreign keys: they cost two look-ups a
# record, and the one writer makes stream and series in the same transaction.
records = sa.Table(
    "records",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("stream", sa.Integer, nullable=False),
    sa.Column("seq", Int64, nullable=False),
    sa.Column("series", sa.Integer, nullable=False),
    sa.Column("at_us", Int64, nullable=False),
    sa.Column("received_us", Int64, nullable=False),
    sa.Column("clock", sa.Integer, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("records_series_at", "series", "at_us"),
    sqlite_strict=True,
)

settled = sa.Table(
    "settled",
    metadata,
    sa.Column("stream", sa.Integer, sa.ForeignKey("streams.id"), primary_key=True),
    sa.Column("chunk", Int64, primary_key=True),
    sa.Column("bits", sa.LargeBinary, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)


def _rollup(name: str, time: sa.Column[int]) -> sa.Table:
    """Return a table of sums; what the columns mean is said in store/rollups.py."""
    return sa.Table(
        name,
        metadata,
        sa.Column("series", sa.Integer, primary_key=True),
        time,
        sa.Column("count", Int64, nullable=False),
        sa.Column("failures", Int64, nullable=False),
        sa.Column("sent", Int64, nullable=False),
        sa.Column("received", Int64, nullable=False),
        sa.Column("measured", Int64, nullable=False),
        sa.Column("total", Int64, nullable=False),
        sa.Column("low", Int64),
        sa.Column("high", Int64),
        sa.Column("passed", Int64, nullable=False),
        sa.Column("bytes", Int64, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


hourly = _rollup("hourly", sa.Column("start_us", Int64, primary_key=True))
daily = _rollup("daily", sa.Column("day", sa.Integer, primary_key=True))

refusals = sa.Table(
    "refusals",
    metadata,
    sa.Column("stream", sa.Integer, sa.ForeignKey("streams.id"), primary_key=True),
    sa.Column("seq", Int64, primary_key=True),
    sa.Column("received_us", Int64, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

heartbeat = sa.Table(
    "heartbeat",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at_us", Int64, nullable=False),
    sqlite_strict=True,
)

# One row: how often others than the serving collector have changed schools, tokens or agents. PostgreSQL only; SQLite
# counts by itself (PRAGMA data_version).
changes = sa.Table(
    "changes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("count", Int64, nullable=False),
    sqlite_strict=True,
)
