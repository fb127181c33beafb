"""The savings report of a ledger, with other policies evaluated from the same rows."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from router.artifact import load
from router.effort import EFFORTS, is_effort
from router.policy import OperatingPoint, Policy
from server.ledger.decisions import decided
from server.ledger.reader import reading, snapshot
from server.ledger.schema import LedgerError, connect, prepare, using
from server.ledger.selection import Selection
from server.ledger.summaries import CHUNK_ROWS, add_new
from server.savings.evidence import gather
from server.savings.report import report
from server.savings.what_if import Choice, Value, at_point, evaluate, fixed

_STEPS = 3
"""Calls after which rows are in the summaries whose transactions have all ended."""

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def query(
    url: str, selection: Selection, completion_price: float | None, policies: Mapping[str, Choice]
) -> dict[str, Any]:
    """The report as a JSON object, with an entry in `what_if` per policy.

    Args:
        url: of the ledger's database.
        selection: which rows count.
        completion_price: of a million completion tokens; None reports no money.
        policies: by the names under which they are reported.

    Raises:
        LedgerError, LedgerDown: the ledger cannot be read.
    """
    engine = connect(url)
    database = engine.url.database
    if engine.dialect.name == "sqlite" and not Path(str(database)).exists():
        raise LedgerError(f"there is no ledger {database}: name that of tops serve with --ledger")
    try:
        prepare(engine)
        summarize(engine)
        with snapshot(engine) as connection:
            document = report(gather(connection, selection), completion_price)
        with reading(engine) as connection:
            batches = decided(connection, selection) if policies else ()
            values = evaluate(batches, [*policies.values()])
    finally:
        engine.dispose()
    what_if = {name: _entry(value) for name, value in zip(policies, values, strict=True)}
    return {**document, "what_if": what_if}


def summarize(engine: Engine) -> None:
    """Add requests to the ledger's summaries until few are left.

    Raises:
        LedgerDown: the ledger cannot be written now.
    """
    with using(engine):
        left, stuck = add_new(engine), 0
        while left > CHUNK_ROWS and stuck < _STEPS:  # a transaction is open, and may stay so
            before, left = left, add_new(engine)
            stuck = 0 if left < before else stuck + 1


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
        price = float(value)
        if not 0 <= price < math.inf:
            raise ValueError(f"--what-if price={value}: a price is a finite number of 0 or more")
        return at_point(OperatingPoint(price))
    if name == "max_loss":
        if router is None:
            raise ValueError("--what-if max_loss=L needs --router FILE: its prices give the policy")
        point = load(router).prices.point_for(Policy(max_loss=float(value)))
        if not point.leaves_baseline:
            raise ValueError(f"{router} certifies no saving at a loss of {value}")
        return at_point(point)
    raise ValueError(
        f"--what-if takes price=P, max_loss=L or effort={'|'.join(EFFORTS)}, not {text!r}"
    )


def parse_since(text: str | None) -> float | None:
    """Unix seconds of a date or of an age such as 7d; None for None.

    Raises:
        ValueError: the text is neither.
    """
    if text is None:
        return None
    try:
        if text[-1:] in _UNITS and text[:-1].isdigit():
            age = timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
            return (datetime.now(UTC) - age).timestamp()
        date = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(f"--since takes 7d, 12h, 30m or a date, not {text!r}") from None
    return date.replace(tzinfo=date.tzinfo or UTC).timestamp()


def _entry(value: Value | None) -> dict[str, Any] | None:
    return value and {
        "tokens": value.tokens,
        "tokens_ci": list(value.interval),
        "supported": value.supported,
        "requests": value.requests,
        "pending": value.pending,
    }
