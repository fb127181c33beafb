"""The hashes by which a later turn is recognised: of each answer, and of the agent that got it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns `requests.agent` and `.answer`, with indexes of the rows that have them."""
    for column in ("agent", "answer"):
        op.add_column("requests", sa.Column(column, sa.BigInteger))
        present = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_requests_{column}",
            "requests",
            [column],
            sqlite_where=present,
            postgresql_where=present,
        )
