"""The savings report of a ledger, with other policies evaluated from the same rows."""

import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from router.artifact import load
from router.effort import EFFORTS, is_effort
from router.policy import OperatingPoint, Policy
from server.ledger.conversation_figures import ConversationFigures
from server.ledger.decisions import decided
from server.ledger.loop_figures import loop_sums
from server.ledger.newest import newest
from server.ledger.reader import reading, snapshot
from server.ledger.schema import connect, prepare, require_file, using
from server.ledger.selection import Selection
from server.ledger.summaries import add_all, add_new
from server.savings.abstentions import COLUMNS, abstentions
from server.savings.conversations import ConversationEvidence, conversation_report
from server.savings.evidence import gather
from server.savings.loops import loop_report
from server.savings.prices import Prices
from server.savings.report import report
from server.savings.what_if import Choice, Value, at_point, evaluate, fixed

_SETTLING_CALLS = 3
"""After which PostgreSQL's rows are summed too, unless a transaction runs on: the database then
groups conversations in the order in which it keeps them."""


def query(
    url: str,
    selection: Selection,
    prices: Prices | None,
    policies: Mapping[str, Choice],
    conversations: bool = False,
) -> dict[str, Any]:
    """The report as a JSON object, with an entry in `what_if` per policy.

    Args:
        url: of the ledger's database.
        selection: which rows count.
        prices: of tokens; None reports no money.
        policies: by the names under which they are reported.
        conversations: whether to report whole conversations, for which all requests are read.

    Raises:
        LedgerError, LedgerDown: the ledger cannot be read.
    """
    engine = connect(url)
    require_file(engine)
    try:
        prepare(engine)
        with using(engine):
            add_all(engine)
            for _ in range(_SETTLING_CALLS):
                if not add_new(engine):
                    break
        with snapshot(engine) as connection:
            document = report(gather(connection, selection), prices)
            document["abstentions"] = abstentions(newest(connection, COLUMNS, selection))
            document["loops"] = loop_report(loop_sums(connection, selection))
            if conversations:
                document["conversations"] = whole_conversations(connection, selection, prices)
        with reading(engine) as connection:
            batches = decided(connection, selection) if policies else ()
            values = evaluate(batches, [*policies.values()])
    finally:
        engine.dispose()
    what_if = {name: _entry(value) for name, value in zip(policies, values, strict=True)}
    return {**document, "what_if": what_if}


def whole_conversations(
    connection: Connection, selection: Selection, prices: Prices | None
) -> dict[str, Any]:
    """The part of the report about whole conversations, of a connection's snapshot."""
    by_model, others = (prices or Prices({})).by_model, prices and prices.others
    figures = ConversationFigures(connection, selection, by_model, others)
    return conversation_report(ConversationEvidence.gather(figures), prices is not None)


def parse_policy(text: str, router: str | None) -> Choice:
    """The policy of `effort=E`, `price=P` or `max_loss=L`, the last by the router's prices.

    Raises:
        ValueError: no policy, or a loss for which the router certifies no saving.
        ArtifactError: the router cannot be read.
    """
    name, _, value = text.partition("=")
    if name == "effort" and is_effort(value):
        return fixed(value)
    if name == "price":
        return at_point(OperatingPoint(_number(name, value, math.inf)))
    if name == "max_loss":
        if router is None:
            raise ValueError("--what-if max_loss=L needs --router FILE: its prices give the policy")
        loss = _number(name, value, 1)
        point = load(router).prices.point_for(Policy(max_loss=loss))
        if not point.leaves_baseline:
            raise ValueError(f"{router} certifies no saving at a loss of {value}")
        return at_point(point)
    raise ValueError(
        f"--what-if takes price=P, max_loss=L or effort={'|'.join(EFFORTS)}, not {text!r}"
    )


def _number(name: str, value: str, highest: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number <= highest or math.isinf(number):
        limit = f"from 0 to {highest}" if highest < math.inf else "of 0 or more"
        raise ValueError(f"--what-if {name}={value}: it must be a number {limit}")
    return number


def _entry(value: Value | None) -> dict[str, Any] | None:
    return value and {
        "tokens": value.tokens,
        "tokens_ci": list(value.interval),
        "supported": value.supported,
        "requests": value.requests,
        "pending": value.pending,
    }
