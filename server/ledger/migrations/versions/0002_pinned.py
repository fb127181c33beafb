"""Whether an earlier turn decided what the router's arm gets, also of who is held out."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column `requests.pinned`."""
    op.add_column("requests", sa.Column("pinned", sa.Boolean))
