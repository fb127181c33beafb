"""What-if on simulated ledgers whose truth is known."""

from typing import Any

import pytest
from sqlalchemy import Engine, insert
from test_server_ledger import engine, postgres
from test_server_savings_report import EFFORTS, TOKENS, kept, simulated

from router.policy import OperatingPoint
from server.ledger.decisions import decided
from server.ledger.reader import reading
from server.ledger.schema import requests
from server.ledger.selection import Selection
from server.savings.what_if import Choice, Value, at_point, evaluate, fixed

__all__ = ["engine", "postgres"]


def value_of(rows: list[dict[str, Any]], choice: Choice) -> Value | None:
    """The value of a policy on these rows."""
    with kept(rows) as engine, reading(engine) as connection:
        (value,) = evaluate(decided(connection, Selection()), [choice])
        return value


def test_what_if_is_pending_where_too_few_requests_got_what_it_gives() -> None:
    rows = [{**row, "p_explore": 0.0} for row in simulated(300) if row["arm"] != "explore"]
    rare = value_of(rows, fixed("high"))
    assert rare is not None
    assert not rare.pending  # half of the prompts are routed to high
    for row in rows:
        row["routed"] = "low"
        row["effort"] = "low" if row["arm"] == "treated" else "high"
    rare = value_of(rows, fixed("high"))
    assert rare is not None
    assert rare.pending


@pytest.mark.slow
@pytest.mark.parametrize("off", [0.5, 1.0, 2.0])
def test_what_if_finds_the_value_of_policies_that_were_not_followed(off: float) -> None:
    rows = simulated(off=off)
    for effort in EFFORTS:
        value = value_of(rows, fixed(effort))
        assert value is not None
        assert value.interval[0] < 1.046 * TOKENS[effort] < value.interval[1]
        assert value.supported == 1
    thrifty = value_of(rows, at_point(OperatingPoint(5.0)))
    careful = value_of(rows, at_point(OperatingPoint(0.0)))
    assert thrifty is not None
    assert careful is not None
    assert thrifty.tokens < careful.tokens
    assert careful.interval[0] < 1.046 * 400 < careful.interval[1]


@pytest.mark.parametrize("choice", [fixed("medium"), at_point(OperatingPoint(0.5))])
def test_what_if_takes_estimates_of_several_efforts_in_any_order(choice: Choice) -> None:
    rows = simulated(600)
    value = value_of(rows, choice)
    columns = ("p_correct", "expected_tokens")
    turned = [
        row | {name: dict(reversed(row[name].items())) for name in columns if place % 2}
        for place, row in enumerate(rows)
    ]
    assert value_of(turned, choice) == value
    parts = [
        [row | {"p_correct": None} for row in rows[:200]],
        [row | {name: row[name] | {"max": 1.0} for name in columns} for row in rows[200:400]],
        [row | {"expected_tokens": {}} for row in rows[400:500]],
    ]
    values = [value for part in parts if (value := value_of(part, choice)) is not None]
    mixed = sorted((row for part in parts for row in part), key=lambda row: row["request_id"][::-1])
    together = value_of(mixed, choice)
    assert together is not None
    assert together.requests == sum(value.requests for value in values) == 400
    total = sum(value.requests * value.tokens for value in values)
    assert together.tokens * together.requests == pytest.approx(total, rel=1e-12)


def test_what_if_tells_what_rests_on_predictions_alone() -> None:
    rows = [{**row, "p_explore": 0.0} for row in simulated() if row["arm"] != "explore"]
    value = value_of(rows, fixed("medium"))
    assert value is not None
    assert value.supported == 0
    assert value_of([], fixed("low")) is None


def test_what_if_leaves_out_whatever_an_earlier_turn_pinned() -> None:
    rows = simulated(100)
    pinned = [{**row, "pinned": True, "thinking_tokens": 10**6} for row in rows]
    assert value_of([*rows, *pinned], fixed("low")) == value_of(rows, fixed("low"))


def test_what_if_reads_the_same_from_both_databases(engine: Engine) -> None:
    rows = simulated(400)
    for place, row in enumerate(rows):
        row["p_correct"] = row["p_correct"] if place % 3 else None
        row["p_treated"] = 0.8 if place % 5 else 0.7
    with engine.begin() as connection:
        connection.execute(insert(requests), rows)
    with reading(engine) as connection:
        (value,) = evaluate(decided(connection, Selection()), [fixed("low")])
    assert value == value_of(rows, fixed("low"))
