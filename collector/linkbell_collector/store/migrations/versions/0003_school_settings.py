"""What is set for schools and regions; a school without a time zone has none, rather than UTC."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add columns and a table, and let ``timezone`` be empty. Frozen: a later change is a new migration."""
    for name, kind in (
        ("country", sa.Text),
        ("giga_id", sa.Text),
        ("contract_download_bps", sa.REAL),
        ("contract_upload_bps", sa.REAL),
        ("wishes", sa.Text),
        ("zone", sa.Text),
    ):
        op.add_column("schools", sa.Column(name, kind))
    # UTC was what a school had of which nobody had said anything.
    op.execute("UPDATE schools SET zone = NULLIF(timezone, 'UTC')")
    op.execute("ALTER TABLE schools DROP COLUMN timezone")
    op.execute("ALTER TABLE schools RENAME COLUMN zone TO timezone")
    op.create_table(
        "regions",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("profile", sa.Text, nullable=False),
        sqlite_strict=True,
    )
