"""Intervals: as wide as what was seen allows, and a dash where it does not."""

import json
from math import inf

import numpy as np
import pytest

from loadtest.comparison import compare
from loadtest.intervals import Interval, percentile, share, wilson
from loadtest.plan import Arm, Plan
from loadtest.record import Record
from loadtest.report import Report
from loadtest.summary import summarise


def test_a_percentile_of_too_few_values_has_no_end() -> None:
    few = percentile(range(40), 99)
    assert few.value == pytest.approx(38.61)
    assert few.low <= few.value
    assert few.high == inf
    assert few.text() == f"38.6 [{few.low:.1f}, -]"
    assert few.as_json() == {"value": few.value, "low": few.low, "high": None}
    assert percentile(range(3), 50) == Interval(1, -inf, inf)
    assert percentile(range(600), 99).high < inf
    assert percentile(range(40), 50).high < inf


def test_percentiles_are_where_they_are_said_to_be() -> None:
    rng = np.random.default_rng(1)
    found = [percentile(rng.exponential(size=200), 90) for _ in range(1000)]
    held = np.mean([one.low <= -np.log(0.1) <= one.high for one in found])
    assert 0.93 < held < 0.99


def test_a_share_of_those_that_are_alone_is_wilson_s() -> None:
    found, known = share([(1, 1)] * 30 + [(0, 1)] * 10), wilson(30, 40)
    assert found.value == known.value
    assert (found.low, found.high) == pytest.approx((known.low, known.high))


@pytest.mark.parametrize("hits", [0, 20, 40])
def test_those_that_are_all_alike_count_once(hits: int) -> None:
    found = share([(5, 5)] * hits + [(0, 5)] * (40 - hits))
    known = wilson(hits, 40)
    assert found.value == hits / 40
    assert (found.low, found.high) == pytest.approx((known.low, known.high))


def test_a_share_is_where_it_is_said_to_be() -> None:
    """Of 60 conversations of five turns, the chance of each turn drawn for its conversation."""
    rng = np.random.default_rng(2)
    hits = rng.binomial(5, rng.beta(0.7, 0.3, size=(1000, 60)))
    found = [share([(int(one), 5) for one in row]) for row in hits]
    assert 0.92 < np.mean([one.low <= 0.7 <= one.high for one in found]) < 0.98
    alone = [wilson(int(row.sum()), 300) for row in hits]
    assert np.mean([one.low <= 0.7 <= one.high for one in alone]) < 0.85


def records(arm: str, tokens: np.ndarray, turns: int = 1) -> list[Record]:
    """A conversation a number, each of so many turns that took it."""
    return [
        Record(arm, f"{n}.{turn}", None, turn=turn, conversation=f"{n}.0", thinking_tokens=int(one))
        for n, one in enumerate(tokens)
        for turn in range(turns)
    ]


def test_turns_that_are_all_alike_tell_no_more_than_one() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = rng.integers(10, 90, (2, 30))
    one = records("a", ours) + records("b", theirs)
    five = records("a", ours, 5) + records("b", theirs, 5)
    assert summarise(five, "a")["thinking_tokens"] == summarise(one, "a")["thinking_tokens"]
    alone, together = compare(one, "a", "b"), compare(five, "a", "b")
    assert alone
    assert together
    assert (alone.pairs, together.pairs) == (30, 150)
    assert together.figures == alone.figures


def test_a_difference_of_accuracies_is_where_it_is_said_to_be() -> None:
    """Of 30 conversations of three turns, which both arms mostly answer alike."""
    rng, held = np.random.default_rng(4), list[bool]()
    for _ in range(100):
        rows = records("a", np.ones(30), 3) + records("b", np.ones(30), 3)
        hard = rng.random(30) < 0.2
        for row in rows:
            worse = row.arm == "a" and hard[int(row.conversation.split(".")[0])]
            row.correct = bool(rng.random() < (0.2 if worse else 0.9))
        found = compare(rows, "a", "b")
        assert found
        accuracy = found.figures["accuracy_difference"]
        held.append(accuracy.low <= -0.2 * 0.7 <= accuracy.high)
    assert np.mean(held) > 0.9


def test_what_a_baseline_often_has_none_of_is_valid_json() -> None:
    """Where a resample has nothing to save of, the lower end is not known."""
    plan = Plan(url="http://x", arms=(Arm(name="a"), Arm(name="b")), baseline="b")
    rows = records("a", np.full(10, 4)) + records("b", np.array([80] + [0] * 9))
    report = Report.of(plan, rows)
    whole = json.loads(json.dumps(report.as_json(), allow_nan=False))
    saved = whole["comparisons"][0]["figures"]["thinking_tokens_saved"]
    assert saved["value"] == 0.5
    assert saved["low"] is None
    assert 0.5 < saved["high"] < 1
    assert "50.0 [-, " in report.markdown()
