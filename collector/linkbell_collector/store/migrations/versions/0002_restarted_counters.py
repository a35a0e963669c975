"""What an agent had counted before its counters started anew."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Int64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add two columns. Frozen: a later change is a new migration."""
    for name in ("dropped_before", "rejected_before"):
        op.add_column("agents", sa.Column(name, Int64, nullable=False, server_default="0"))
