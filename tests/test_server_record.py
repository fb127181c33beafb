"""The account of a request: what is told of a budget, with one choice and with several."""

import pytest

from server.decide.decision import Decision
from server.engines.usage import Usage, read_usage
from server.lifecycle.record import RequestRecord
from server.lifecycle.tracker import RequestTracker
from server.observe.metrics import Metrics


def decided(budget: int | None, effort: str = "low") -> Decision:
    return Decision(
        effort=effort,  # type: ignore[arg-type]
        source="router",
        budget=budget,
        budget_source="router",
        reason="",
        abstained=None,
        estimate=None,
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
    record = RequestRecord("id", choices=choices, decision=decided(budget))
    record.record_usage(Usage(5, 600, thinking))
    assert record.budget_hit is hit


@pytest.mark.parametrize(
    ("completion", "thinking", "read"),
    [(50, 40, Usage(5, 50, 40)), (5, 40, Usage(5, 45, 40)), (-5, 40, None), (5, -1, None)],
)
def test_odd_counts_of_an_engine_cost_nothing(
    completion: int, thinking: int, read: Usage | None
) -> None:
    told = {
        "prompt_tokens": 5,
        "completion_tokens": completion,
        "completion_tokens_details": {"reasoning_tokens": thinking},
    }
    recorded: list[RequestRecord] = []
    with RequestTracker(Metrics(), recorded.append).open("id") as record:
        record.model, record.decision = "m", decided(10)
        record.record_usage(read_usage({"usage": told}))
    assert [one.usage for one in recorded] == [read]


@pytest.mark.parametrize("cut", [False, True])
def test_who_cuts_the_thinking_itself_knows_whether_it_did(cut: bool) -> None:
    record = RequestRecord("id", decision=decided(100))
    assert record.record_usage(Usage(5, 120, 99), cut)["budget_hit"] is cut


def test_effort_none_cannot_be_cut() -> None:
    record = RequestRecord("id", decision=decided(0, "none"))
    assert record.record_usage(Usage(5, 8, 0))["budget_hit"] is False


@pytest.mark.parametrize(
    ("choices", "thinking", "violations"), [(1, 10, 0), (1, 11, 1), (3, 30, 0), (3, 31, 1)]
)
def test_the_audit_counts_what_a_budget_did_not_hold(
    choices: int, thinking: int, violations: int
) -> None:
    metrics = Metrics()
    with RequestTracker(metrics).open("id") as record:
        record.model, record.choices, record.decision = "m", choices, decided(10)
        record.record_usage(Usage(5, 100, thinking))
    found = metrics.registry.get_sample_value("tops_budget_violations_total", {"model": "m"})
    assert (found or 0) == violations
    assert metrics.registry.get_sample_value("tops_in_flight") == 0
