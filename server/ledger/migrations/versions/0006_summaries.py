"""Sums of requests per slot of time, which reports and the dashboard read instead of the rows."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_SUMS = (
    "requests", "choices", "prompt_tokens", "thinking_tokens", "answer_tokens", "seconds",
    "first_bytes", "ttft_seconds", "budget_hits",
    "predicted", "predicted_tokens", "weight", "weight_tokens", "weight_squares", "weight_unknown",
    "scored", "score", "score_predicted", "score_expected",
    "score_weight", "score_weight_p", "score_weight_squares", "score_weight_unknown",
)  # fmt: skip


def upgrade() -> None:
    """Create the tables `summaries` and `summarized`, and an index of held out requests."""
    choice = sa.String(64).with_variant(sa.String(8), "sqlite")
    op.create_table(
        "summaries",
        sa.Column("slot_seconds", sa.Integer, primary_key=True),
        sa.Column("slot", sa.BigInteger, primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("model", sa.String(256), primary_key=True),
        sa.Column("kind", sa.String(128), primary_key=True),
        sa.Column("effort", choice, primary_key=True),
        sa.Column("routed", choice, primary_key=True),
        sa.Column("arm", sa.String(8), primary_key=True),
        sa.Column("status", sa.Integer, primary_key=True),
        sa.Column("compared", sa.Integer, primary_key=True),
        *(sa.Column(name, sa.Float, nullable=False) for name in _SUMS),
        sqlite_with_rowid=False,
    )
    summarized = op.create_table(
        "summarized",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("upto", sa.BigInteger, nullable=False),
        sa.Column("settling", sa.BigInteger, nullable=False),
        sa.Column("transaction_id", sa.BigInteger),
    )
    op.bulk_insert(summarized, [{"id": 1, "upto": 0, "settling": 0, "transaction_id": None}])
    held_out = sa.text("arm = 'holdout'")
    op.create_index(
        "ix_requests_holdout",
        "requests",
        ["at", "id"],
        sqlite_where=held_out,
        postgresql_where=held_out,
    )
