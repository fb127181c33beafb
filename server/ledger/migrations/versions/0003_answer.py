"""The hash of each answer, by which a later turn's history shows its conversation."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column `requests.answer`, with an index of the rows that have one."""
    op.add_column("requests", sa.Column("answer", sa.BigInteger))
    present = sa.text("answer IS NOT NULL")
    op.create_index(
        "ix_requests_answer",
        "requests",
        ["answer"],
        sqlite_where=present,
        postgresql_where=present,
    )
