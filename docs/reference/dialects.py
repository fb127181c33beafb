"""The page on dialects: what each engine receives, and what clients may send."""

import json
from typing import Any

from docs.reference.markdown import page, table
from router.effort import EFFORTS
from server.api.thinking_fields import FIELDS
from server.engines.dialect import DIALECTS, Dialect

_DIALECTS = """\
`--dialect` names how the upstream engine expects effort and budget. Clients may use any of [these
fields](#what-clients-may-send) in front of any engine: the gateway reads them, removes them, and
writes the upstream's. [llama.cpp and other engines](../guides/other-engines.md) says what was
tested on a real engine.

*Two phases* tells whether the gateway can enforce a budget that the engine ignores; *least budget*
is the smallest that the engine accepts. A hosted service is not probed, because each request costs
money."""


_CLIENT_FIELDS = """\
These fields are read on Chat Completions, Responses and Messages; on `/v1/completions`, budgets and
switches are. Several may be used at once if they agree; two that differ are refused with a 400, as
is a value of another type, with the field's name in `param`. Off is the effort `none`; on leaves
the effort to the router, without `none`. *No limit* sets the router's budget aside, and the one
that leaves the answer room; those of the API key and of the server hold.

In objects such as `reasoning` or `chat_template_kwargs`, fields that are not in the table are
forwarded. On Messages, `thinking` follows Anthropic's rules: budgets from 1,024, with `enabled`;
Anthropic's `output_config.effort` is for the whole answer, so that thinking may be off beside it.

Those variables of `chat_template_kwargs` that engines do not set from the effort, such as
`thinking` and `thinking_mode`, reach the template of a self-hosted model with the decision's
values, if the client names them. A variable that is not in the table and looks like a switch
(`enable_reasoning`) is refused where a key or the server allows no thinking and no native budget
would end it."""


def text() -> str:
    rows = [_dialect_row(name, dialect) for name, dialect in DIALECTS.items()]
    head = (
        "dialect",
        "effort field",
        "budget field",
        "efforts",
        "two phases",
        "least budget",
        "hosted",
    )
    examples = [_dialect_example(name, dialect) for name, dialect in DIALECTS.items()]
    return page(
        "Dialects",
        _DIALECTS,
        table(head, rows),
        "## What each engine receives",
        "The fields that the gateway adds to a chat request, for effort `high` with a budget of "
        "2,000 thinking tokens, and for effort `none`:",
        table(("dialect", "`high`, 2,000 tokens", "`none`"), examples),
        "## What clients may send",
        _CLIENT_FIELDS,
        table(
            ("field", "values", "from"),
            [(f"`{field.name}`", field.kind.values, field.clients) for field in FIELDS],
        ),
    )


def _dialect_row(name: str, dialect: Dialect) -> tuple[str, ...]:
    efforts = "all" if dialect.efforts == EFFORTS else ", ".join(f"`{e}`" for e in dialect.efforts)
    budget = (dialect.budget or "-") + (", instead of the effort" if dialect.exclusive else "")
    return (
        f"`{name}`",
        dialect.effort,
        budget,
        efforts,
        "yes" if dialect.resume is not None else "no",
        f"{dialect.min_budget:,}" if dialect.budget else "-",
        "yes" if dialect.hosted else "no",
    )


def _dialect_example(name: str, dialect: Dialect) -> tuple[str, ...]:
    high: dict[str, Any] = {}
    none: dict[str, Any] = {}
    dialect.apply(high, "high", 2000 if dialect.budget else None)
    dialect.apply(none, "none", None)
    return (f"`{name}`", f"`{json.dumps(high)}`", f"`{json.dumps(none)}`")
