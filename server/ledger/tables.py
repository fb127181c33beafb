"""The ledger's tables: a row per request, their sums per slot of time, and the shared secret."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
)

metadata = MetaData()

_CHOICE = String(64).with_variant(String(8), "sqlite")
"""An effort or the name of a composite one. SQLite bounds no text, and has its first width."""

requests = Table(
    "requests",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("request_id", String(128), nullable=False, index=True),
    Column("at", Float, nullable=False, index=True),
    Column("model", String(256), nullable=False),
    Column("key", String(64), nullable=False),
    Column("conversation", String(32)),
    Column("agent", BigInteger),
    Column("answer", BigInteger),
    Column("response", BigInteger),
    Column("loop_turn", Integer),
    Column("kind", String(128)),
    Column("arm", String(8)),
    Column("p_treated", Float),
    Column("p_holdout", Float),
    Column("p_explore", Float),
    Column("effort", _CHOICE, nullable=False),
    Column("source", String(8), nullable=False),
    Column("routed", _CHOICE),
    Column("pinned", Boolean),
    Column("baseline", String(8), nullable=False),
    Column("calibrated", Boolean, nullable=False),
    Column("features", Integer, nullable=False),
    Column("baseline_tokens", Float),
    Column("baseline_p_correct", Float),
    Column("p_correct", JSON),
    Column("expected_tokens", JSON),
    Column("budget", Integer),
    Column("budget_source", String(8)),
    Column("budget_hit", Boolean),
    Column("choices", Integer, nullable=False),
    Column("prompt_tokens", Integer),
    Column("cached_tokens", Integer),
    Column("cache_write_tokens", Integer),
    Column("thinking_tokens", Integer),
    Column("answer_tokens", Integer),
    Column("unsplit_tokens", Integer),
    Column("ttft_seconds", Float),
    Column("first_answer_seconds", Float),
    Column("seconds", Float, nullable=False),
    Column("status", Integer, nullable=False),
    Column("abstained", String(256)),
    Column("reason", String(512), nullable=False),
    Column("score", Float),
    Column("scored_at", Float),
)
"""`at` is in Unix seconds. `conversation` is a random id or a keyed hash, `agent`, `answer` and
`response` (its id) are keyed hashes. `loop_turn` numbers the turns of a tool loop from 1 on (null
without tools). Of `prompt_tokens`, `cached_tokens` were read from a cache and `cache_write_tokens`
written to one. Completion tokens that the engine did not split into thinking and answer are
`unsplit_tokens`. Tokens of retries and of attempts that the client never saw are included. `kind`
is of traffic (null where none was known). `p_explore` is the probability of each effort to be drawn
for itself. `routed` is what the router's arm gets, `pinned` whether an
earlier turn decided that (null where an older version wrote the row). `baseline_tokens` are the
thinking tokens expected at the baseline effort, of all choices like the counted ones;
`expected_tokens` those per effort, of one choice. `score` is feedback, 0 to 1."""

for _column in (requests.c.agent, requests.c.answer, requests.c.response):
    # of values that are not null, as the migration has it: saying so here would load the dialect of
    # PostgreSQL at every start
    Index(f"ix_requests_{_column.name}", _column)
Index("ix_requests_conversation", requests.c.conversation)
Index("ix_requests_holdout", requests.c.at, requests.c.id)  # of held out requests, likewise

secret = Table(
    "secret",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", String(128), nullable=False),
)
"""Shared by the gateways on one ledger: the key of the conversations' hashes."""

SLOT_SECONDS = (60, 3_600, 86_400)
"""Widths of the slots of time over which requests are summed."""

DIMENSIONS = ("key", "model", "kind", "effort", "routed", "arm", "status", "compared")

SUMS = (
    "requests", "choices", "prompt_tokens", "cached_tokens", "cache_write_tokens",
    "thinking_tokens", "answer_tokens", "unsplit_tokens", "seconds",
    "first_bytes", "ttft_seconds", "budget_hits",
    "predicted", "predicted_tokens", "weight", "weight_tokens", "weight_squares", "weight_unknown",
    "scored", "score", "score_predicted", "score_expected",
    "score_weight", "score_weight_p", "score_weight_squares", "score_weight_unknown",
)  # fmt: skip

summaries = Table(
    "summaries",
    metadata,
    Column("slot_seconds", Integer, primary_key=True),
    Column("slot", BigInteger, primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("model", String(256), primary_key=True),
    Column("kind", String(128), primary_key=True),
    Column("effort", _CHOICE, primary_key=True),
    Column("routed", _CHOICE, primary_key=True),
    Column("arm", String(8), primary_key=True),
    Column("status", Integer, primary_key=True),
    Column("compared", Integer, primary_key=True),
    *(Column(name, Float, nullable=False) for name in SUMS),
    sqlite_with_rowid=False,
)
"""Sums over the requests of a slot, which begins at `slot` (Unix seconds). An absent kind, effort
or arm is ''. `compared` is 1 for an answered request, treated or held out, while there was a
holdout; 0 without one; -1 for all others. `predicted` counts those whose tokens at the baseline
effort were predicted, and `predicted_tokens` sums them. `weight*` are sums, for the variance, of
p_treated**2 / p_holdout + p_treated: by itself, times the prediction, times its square, and by
itself where there is none. `score*` are the same of the requests with feedback, with the predicted
P(correct) at the baseline effort as `score_expected`."""

summarized = Table(
    "summarized",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("upto", BigInteger, nullable=False),
    Column("settling", BigInteger, nullable=False),
    Column("transaction_id", BigInteger),
)
"""One row: requests up to the id `upto` are in the summaries; for `settling`, see
`server.ledger.summaries`."""

conversation_scores = Table(
    "conversation_scores",
    metadata,
    Column("conversation", String(32), primary_key=True),
    Column("key", String(64), nullable=False),
    Column("score", Float, nullable=False),
    Column("scored_at", Float, nullable=False),
)
"""Feedback on conversations: whether they solved their task, 0 to 1."""

LOOP_SUMS = (
    "requests", "prompt_tokens", "cached_tokens", "thinking_tokens", "answer_tokens", "seconds",
)  # fmt: skip

loop_turns = Table(
    "loop_turns",
    metadata,
    Column("slot", BigInteger, primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("model", String(256), primary_key=True),
    Column("kind", String(128), primary_key=True),
    Column("arm", String(8), primary_key=True),
    Column("effort", _CHOICE, primary_key=True),
    Column("turn", Integer, primary_key=True),
    *(Column(name, Float, nullable=False) for name in LOOP_SUMS),
    sqlite_with_rowid=False,
)
"""Sums over the answered requests of a day (UTC, which begins at `slot`) that are turns of a tool
loop: those up to the id of `summarized`. Turns above MAX_LOOP_TURN count as that one."""

MAX_LOOP_TURN = 100
