"""Room for the names of composite efforts, such as `stop:medium@4096:high`."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Widen `requests.effort` and `.routed`; SQLite bounds no text."""
    if op.get_bind().dialect.name == "sqlite":
        return
    for column in ("effort", "routed"):
        op.alter_column("requests", column, type_=sa.String(64), existing_type=sa.String(8))
