"""The first tables: requests and the shared secret."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables `requests` and `secret`."""
    op.create_table(
        "requests",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("request_id", sa.String(128), nullable=False, index=True),
        sa.Column("at", sa.Float, nullable=False, index=True),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("conversation", sa.String(32)),
        sa.Column("arm", sa.String(8)),
        sa.Column("p_treated", sa.Float),
        sa.Column("p_holdout", sa.Float),
        sa.Column("p_explore", sa.Float),
        sa.Column("effort", sa.String(8), nullable=False),
        sa.Column("source", sa.String(8), nullable=False),
        sa.Column("routed", sa.String(8)),
        sa.Column("baseline", sa.String(8), nullable=False),
        sa.Column("calibrated", sa.Boolean, nullable=False),
        sa.Column("features", sa.Integer, nullable=False),
        sa.Column("baseline_tokens", sa.Float),
        sa.Column("baseline_p_correct", sa.Float),
        sa.Column("p_correct", sa.JSON),
        sa.Column("expected_tokens", sa.JSON),
        sa.Column("budget", sa.Integer),
        sa.Column("budget_hit", sa.Boolean),
        sa.Column("choices", sa.Integer, nullable=False),
        sa.Column("prompt_tokens", sa.Integer),
        sa.Column("thinking_tokens", sa.Integer),
        sa.Column("answer_tokens", sa.Integer),
        sa.Column("ttft_seconds", sa.Float),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("abstained", sa.String(256)),
        sa.Column("reason", sa.String(512), nullable=False),
        sa.Column("score", sa.Float),
        sa.Column("scored_at", sa.Float),
    )
    op.create_table(
        "secret",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.String(128), nullable=False),
    )
