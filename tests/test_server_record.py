"""A request's record: whether its budget was hit, and the usage of several attempts."""

import pytest

from router.estimate import Estimate
from server.decide.decision import Decision
from server.engines.usage import Usage
from server.lifecycle.record import RequestRecord

ESTIMATE = Estimate(
    difficulty=0.4,
    p_correct={"low": 0.5, "high": 0.9},
    tokens={"low": 20.0, "high": 240.0},
    budget={"low": 50, "high": 600},
)


def decision_with(
    budget: int | None, effort: str = "low", estimate: Estimate | None = None
) -> Decision:
    return Decision(
        effort=effort,  # type: ignore[arg-type]
        source="router",
        budget=budget,
        budget_source="router",
        reason="",
        abstained=None,
        estimate=estimate,
        baseline_effort="high",
    )


@pytest.mark.parametrize(
    ("choices", "budget", "thinking", "hit"),
    [
        (1, 10, 9, False),
        (1, 10, 10, True),
        (1, 0, 0, True),
        (1, None, 500, False),
        (1, 10, None, None),
        (3, 10, 9, False),
        (3, 10, 20, None),
        (3, 10, 30, True),
    ],
)
def test_budget_hit(choices: int, budget: int | None, thinking: int | None, hit: bool) -> None:
    record = RequestRecord("id", choices=choices, decision=decision_with(budget))
    record.record_usage(Usage(5, 600, thinking))
    assert record.budget_hit is hit


@pytest.mark.parametrize(("thinking", "hit"), [(7, False), (8, True)])
def test_an_engine_that_stops_short_of_a_budget_has_hit_it(thinking: int, hit: bool) -> None:
    record = RequestRecord("id", decision=decision_with(10), undershoot=2)
    assert record.record_usage(Usage(5, 600, thinking))["budget_hit"] is hit


@pytest.mark.parametrize("cut", [False, True])
def test_a_cut_by_the_gateway_decides_whether_the_budget_was_hit(cut: bool) -> None:
    record = RequestRecord("id", decision=decision_with(100))
    assert record.record_usage(Usage(5, 120, 99), cut)["budget_hit"] is cut


def test_effort_none_never_hits_its_budget() -> None:
    record = RequestRecord("id", decision=decision_with(0, "none"))
    assert record.record_usage(Usage(5, 8, 0))["budget_hit"] is False


def test_a_stream_s_later_usage_replaces_the_earlier_and_a_retry_s_is_added() -> None:
    record = RequestRecord("id", decision=decision_with(10))
    record.record_usage(Usage(5, 8, 4))
    record.record_usage(Usage(5, 20, 10))
    assert record.usage == Usage(5, 20, 10)
    record.raise_budget(40)
    tops = record.record_usage(Usage(5, 50, 30), retry=True)
    assert (record.usage, record.final_usage) == (Usage(10, 70, 40), Usage(5, 50, 30))
    assert (tops["budget"], tops["budget_hit"], tops["thinking_tokens"]) == (40, False, 40)


def test_what_no_usage_reports_is_spent_too() -> None:
    record = RequestRecord("id", decision=decision_with(10))
    record.book(Usage(5, 7, 4))
    assert (record.spent, record.usage) == (Usage(5, 7, 4), None)
    assert record.tops()["thinking_tokens"] == 4
    record.book(Usage(5, 3, 3))
    record.record_usage(Usage(5, 9, 6))
    assert record.spent == Usage(15, 19, 13)
    assert record.usage == Usage(5, 9, 6)


def test_expected_tokens_are_for_all_choices_and_only_from_a_calibrated_estimate() -> None:
    record = RequestRecord("id", choices=3, decision=decision_with(10, estimate=ESTIMATE))
    assert (record.expected_tokens, record.baseline_tokens) == (60.0, 720.0)
    assert record.tops()["baseline_tokens"] == 720
    for unknown in (
        decision_with(10),
        decision_with(10, estimate=ESTIMATE)._replace(calibrated=False),
    ):
        record.decision = unknown
        assert (record.expected_tokens, record.baseline_tokens) == (None, None)
        assert record.tops()["baseline_tokens"] is None
