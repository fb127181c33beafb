"""Sums per turn of a tool loop, feedback on conversations, an index on them, cached tokens.

The requests of before are summed anew, some thousands at a time, as those of any other ledger.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_COUNTS = ("cached_tokens", "cache_write_tokens", "unsplit_tokens")
_LOOP_SUMS = (
    "requests", "prompt_tokens", "cached_tokens", "thinking_tokens", "answer_tokens", "seconds",
)  # fmt: skip


def upgrade() -> None:
    """Add columns to `requests` and `summaries`, and two tables; sum all requests anew."""
    op.add_column("requests", sa.Column("response", sa.BigInteger))
    for column in ("loop_turn", *_COUNTS):
        op.add_column("requests", sa.Column(column, sa.Integer))
    present = sa.text("response IS NOT NULL")
    op.create_index(
        "ix_requests_response",
        "requests",
        ["response"],
        sqlite_where=present,
        postgresql_where=present,
    )
    op.execute("DELETE FROM summaries")
    op.execute("UPDATE summarized SET upto = 0, settling = 0, transaction_id = NULL")
    for column in _COUNTS:
        op.add_column(
            "summaries", sa.Column(column, sa.Float, nullable=False, server_default=sa.text("0"))
        )
    op.create_index("ix_requests_conversation", "requests", ["conversation"])
    op.create_table(
        "conversation_scores",
        sa.Column("conversation", sa.String(32), primary_key=True),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("score", sa.Float, nullable=False),
        sa.Column("scored_at", sa.Float, nullable=False),
    )
    choice = sa.String(64).with_variant(sa.String(8), "sqlite")
    op.create_table(
        "loop_turns",
        sa.Column("slot", sa.BigInteger, primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("model", sa.String(256), primary_key=True),
        sa.Column("kind", sa.String(128), primary_key=True),
        sa.Column("arm", sa.String(8), primary_key=True),
        sa.Column("effort", choice, primary_key=True),
        sa.Column("turn", sa.Integer, primary_key=True),
        *(sa.Column(name, sa.Float, nullable=False) for name in _LOOP_SUMS),
        sqlite_with_rowid=False,
    )
