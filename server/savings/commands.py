"""`tops savings`: the report from the ledger, as text, JSON or a page."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from router.artifact import ArtifactError, load
from router.effort import EFFORTS, is_effort
from router.policy import Policy
from server.config.load_settings import BadSettings, load_settings
from server.ledger.reader import Row, Selection, comparable, counts, decided
from server.ledger.schema import LedgerDown, LedgerError, connect, prepare
from server.savings.page import page
from server.savings.report import report
from server.savings.table import table
from server.savings.what_if import Choice, at_price, evaluate, fixed

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def savings_main(argv: Sequence[str]) -> int:
    """Print the report; returns 1 where the ledger cannot be read."""
    parser = argparse.ArgumentParser("tops savings", description="What was saved, measured.")
    parser.add_argument("--ledger", help="database URL (default: as tops serve has it)")
    parser.add_argument("--since", help="7d, 12h, 30m, or a date such as 2026-11-01")
    parser.add_argument("--model", help="of one model only")
    parser.add_argument("--key", help="of one API key only, by its name")
    parser.add_argument("--completion-price", type=float, help="of a million completion tokens")
    parser.add_argument(
        "--what-if",
        action="append",
        default=[],
        metavar="price=P|max_loss=L|effort=E",
        help="another policy, evaluated from the ledger; may be given several times",
    )
    parser.add_argument("--router", help="the artifact whose prices max_loss stands for")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one object")
    form.add_argument("--html", action="store_true", help="a self-contained page")
    words = parser.parse_args(argv)
    try:
        others = {name: _choice(name, words.router) for name in words.what_if}
        selection = Selection(_since(words.since), words.model, words.key)
    except (ValueError, ArtifactError) as error:
        parser.error(str(error))
    try:
        found = _read(words, selection, others)
    except (LedgerError, LedgerDown, BadSettings) as error:
        print(f"tops savings: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found, indent=2) if words.json else (page if words.html else table)(found))
    return 0


def _read(
    words: argparse.Namespace, selection: Selection, others: Mapping[str, Choice]
) -> dict[str, Any]:
    settings = load_settings([])
    price = words.completion_price
    engine = connect(words.ledger or settings.ledger)
    try:
        prepare(engine)
        found = report(
            comparable(engine, selection),
            counts(engine, selection),
            settings.completion_price if price is None else price,
        )
        rows = decided(engine, selection) if others else ()
    finally:
        engine.dispose()
    return {**found, "what_if": {name: _value(rows, one) for name, one in others.items()}}


def _value(rows: Sequence[Row], choice: Choice) -> dict[str, Any] | None:
    value = evaluate(rows, choice)
    return value and {
        "tokens": value.tokens,
        "tokens_ci": list(value.ends),
        "supported": value.supported,
        "requests": value.requests,
        "pending": value.pending,
    }


def _choice(words: str, router: str | None) -> Choice:
    """A policy from `name=value`. Raises ValueError, ArtifactError."""
    name, _, value = words.partition("=")
    if name == "effort" and is_effort(value):
        return fixed(value)
    if name == "price":
        return at_price(float(value))
    if name == "max_loss":
        if router is None:
            raise ValueError("--what-if max_loss=... needs --router FILE, whose prices it means")
        price = load(router).prices.price_for(Policy(max_loss=float(value)))
        if price is None:
            raise ValueError(f"{router} certifies no saving at a loss of {value}")
        return at_price(price)
    raise ValueError(
        f"--what-if takes price=P, max_loss=L or effort={'|'.join(EFFORTS)}, not {words!r}"
    )


def _since(text: str | None) -> float | None:
    """Unix seconds. Raises ValueError."""
    if text is None:
        return None
    try:
        if text[-1:] in _UNITS and text[:-1].isdigit():
            back = timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
            return (datetime.now(UTC) - back).timestamp()
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(f"--since takes 7d, 12h, 30m or a date, not {text!r}") from None
    return found.replace(tzinfo=found.tzinfo or UTC).timestamp()
