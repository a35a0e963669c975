"""Which schools are simulated."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0003"


def upgrade() -> None:
    """Add a column. Frozen: a later change is a new migration."""
    op.add_column("schools", sa.Column("simulated", sa.Integer, nullable=False, server_default="0"))
