"""The kind of traffic of each request."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column `requests.kind`."""
    op.add_column("requests", sa.Column("kind", sa.String(128)))
