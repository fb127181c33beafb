"""The time to the first token of a streamed answer, and where a request's budget came from."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns `first_answer_seconds` and `budget_source` of requests."""
    op.add_column("requests", sa.Column("first_answer_seconds", sa.Float))
    op.add_column("requests", sa.Column("budget_source", sa.String(8)))
