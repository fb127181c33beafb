"""Confidence intervals: their coverage, and ends that the data do not determine."""

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


def test_a_percentile_of_too_few_values_has_an_undetermined_end() -> None:
    few = percentile(range(40), 99)
    assert few.value == pytest.approx(38.61)
    assert few.low <= few.value
    assert few.high == inf
    assert few.text() == f"38.6 [{few.low:.1f}, -]"
    assert few.as_json() == {"value": few.value, "low": few.low, "high": None}
    assert percentile(range(3), 50) == Interval(1, -inf, inf)
    assert percentile(range(600), 99).high < inf
    assert percentile(range(40), 50).high < inf


def test_percentile_intervals_have_their_coverage() -> None:
    rng = np.random.default_rng(1)
    intervals = [percentile(rng.exponential(size=200), 90) for _ in range(1000)]
    covered = np.mean([row.low <= -np.log(0.1) <= row.high for row in intervals])
    assert 0.93 < covered < 0.99


def test_a_share_of_groups_of_size_1_is_wilson_s() -> None:
    interval, expected = share([(1, 1)] * 30 + [(0, 1)] * 10), wilson(30, 40)
    assert interval.value == expected.value
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("hits", [0, 20, 40])
def test_a_group_of_identical_members_counts_as_a_single_member(hits: int) -> None:
    interval = share([(5, 5)] * hits + [(0, 5)] * (40 - hits))
    expected = wilson(hits, 40)
    assert interval.value == hits / 40
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_intervals_of_a_share_of_correlated_groups_have_their_coverage() -> None:
    """60 conversations of five turns, whose probability of success is per conversation."""
    rng = np.random.default_rng(2)
    hits = rng.binomial(5, rng.beta(0.7, 0.3, size=(1000, 60)))
    intervals = [share([(int(count), 5) for count in row]) for row in hits]
    assert 0.92 < np.mean([row.low <= 0.7 <= row.high for row in intervals]) < 0.98
    independent = [wilson(int(row.sum()), 300) for row in hits]
    assert np.mean([row.low <= 0.7 <= row.high for row in independent]) < 0.85


def records(arm: str, tokens: np.ndarray, turns: int = 1) -> list[Record]:
    """A conversation per number of tokens; each of its turns has that number."""
    return [
        Record(
            arm, f"{n}.{turn}", None, turn=turn, conversation=f"{n}.0", thinking_tokens=int(count)
        )
        for n, count in enumerate(tokens)
        for turn in range(turns)
    ]


def test_identical_turns_do_not_narrow_an_interval() -> None:
    rng = np.random.default_rng(3)
    arm, baseline = rng.integers(10, 90, (2, 30))
    single = records("a", arm) + records("b", baseline)
    five = records("a", arm, 5) + records("b", baseline, 5)
    assert summarise(five, "a")["thinking_tokens"] == summarise(single, "a")["thinking_tokens"]
    single_turn, five_turns = compare(single, "a", "b"), compare(five, "a", "b")
    assert single_turn
    assert five_turns
    assert (single_turn.pairs, five_turns.pairs) == (30, 150)
    assert five_turns.figures == single_turn.figures


@pytest.mark.slow
def test_intervals_of_an_accuracy_difference_have_their_coverage() -> None:
    """30 conversations of three turns, which both arms mostly answer alike."""
    rng, covered = np.random.default_rng(4), list[bool]()
    for _ in range(100):
        rows = records("a", np.ones(30), 3) + records("b", np.ones(30), 3)
        hard = rng.random(30) < 0.2
        for row in rows:
            worse = row.arm == "a" and hard[int(row.conversation.split(".")[0])]
            row.thinking_tokens = None  # no second bootstrap
            row.correct = bool(rng.random() < (0.2 if worse else 0.9))
        comparison = compare(rows, "a", "b")
        assert comparison
        accuracy = comparison.figures["accuracy_difference"]
        covered.append(accuracy.low <= -0.2 * 0.7 <= accuracy.high)
    assert np.mean(covered) > 0.9


def test_an_undetermined_end_is_null_in_valid_json() -> None:
    """If a resample has no tokens to save, the lower end is not determined."""
    plan = Plan(url="http://x", arms=(Arm(name="a"), Arm(name="b")), baseline="b")
    rows = records("a", np.full(10, 4)) + records("b", np.array([80] + [0] * 9))
    report = Report.of(plan, rows)
    parsed = json.loads(json.dumps(report.as_json(), allow_nan=False))
    saved = parsed["comparisons"][0]["figures"]["thinking_tokens_saved"]
    assert saved["value"] == 0.5
    assert saved["low"] is None
    assert 0.5 < saved["high"] < 1
    assert "50.0 [-, " in report.markdown()
