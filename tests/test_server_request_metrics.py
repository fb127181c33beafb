"""What a closed request adds to the metrics."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from test_server_record import ESTIMATE, decision_with

from server.decide.conversations import Thread
from server.decide.holdout import Arm, Draw, Shares
from server.engines.usage import Usage
from server.lifecycle.record import RequestRecord
from server.lifecycle.request_metrics import RequestMetrics
from server.observe.metrics import Metrics

LABELS = {"model": "m", "effort": "low", "source": "router"}
ANSWERED = {"model": "m", "effort": "low"}


def answered(**fields: Any) -> RequestRecord:
    """A stream of 5 tokens after its first byte: times are 1, 3 and 7 s after its arrival."""
    decision = decision_with(10, estimate=ESTIMATE)
    record = RequestRecord("id", opened_at=100.0, decision=decision, model="m", stream=True)
    record.body_read_at, record.decided_at, record.forwarded_at = 100.5, 100.75, 101.0
    record.first_byte_at, record.closed_at = 103.0, 107.0
    record.record_usage(Usage(9, 6, 2))
    for name, value in fields.items():
        setattr(record, name, value)
    return record


def counted(*records: RequestRecord) -> Callable[..., float | None]:
    metrics = Metrics()
    request_metrics = RequestMetrics(metrics)
    for record in records:
        request_metrics.count(record)
    return metrics.registry.get_sample_value


def test_times_of_a_stream() -> None:
    value = counted(answered())
    assert value("tops_ttft_seconds_sum", ANSWERED) == pytest.approx(3.0)
    assert value("tops_first_answer_seconds_count", ANSWERED) is None
    assert value("tops_request_seconds_sum", ANSWERED) == pytest.approx(7.0)
    assert value("tops_decision_seconds_sum") == pytest.approx(0.25)
    assert value("tops_overhead_seconds_sum") == pytest.approx(0.5)


def test_latencies_have_the_request_as_their_exemplar() -> None:
    """The newest of each bucket, in OpenMetrics alone, where its labels have 128 characters."""
    metrics = Metrics()
    counting = RequestMetrics(metrics)
    times = {"closed_at": 107.5, "first_answer_at": 103.5}
    counting.count(answered(request_id="slow", closed_at=200.0))
    for name in ("first", "second", "x" * 119):
        counting.count(answered(request_id=name, **times))
    plain, plain_type = metrics.exposition()
    text, content_type = metrics.exposition("application/openmetrics-text; version=1.0.0")
    assert plain_type.startswith("text/plain")
    assert b"request_id" not in plain
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    found = {
        sample.name: (sample.exemplar.labels, sample.exemplar.value)
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.exemplar and sample.exemplar.labels != {"request_id": "slow"}
    }
    latest = {"request_id": "second"}
    assert found == {
        "tops_request_seconds_bucket": (latest, 7.5),
        "tops_ttft_seconds_bucket": (latest, 3.0),
        "tops_first_answer_seconds_bucket": (latest, 3.5),
        "tops_tpot_seconds_bucket": (latest, 0.9),
    }
    again, _ = metrics.exposition("application/openmetrics-text; version=1.0.0")
    assert again == text


def test_workers_have_no_exemplars(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    assert Metrics().exemplar("id") is None


def test_tpot_is_the_time_after_the_first_byte_per_token_after_the_first() -> None:
    assert counted(answered())("tops_tpot_seconds_sum", ANSWERED) == pytest.approx(4.0 / 5)


@pytest.mark.parametrize(
    "fields",
    [{"usage": Usage(9, 1, 0)}, {"usage": None}, {"stream": False}, {"first_byte_at": None}],
    ids=["one token", "no usage", "not streamed", "no byte"],
)
def test_without_a_token_after_the_first_there_is_no_tpot(fields: dict[str, Any]) -> None:
    assert counted(answered(**fields))("tops_tpot_seconds_count", ANSWERED) is None


def test_a_whole_answer_has_a_latency_and_no_ttft() -> None:
    value = counted(answered(stream=False))
    assert value("tops_request_seconds_count", ANSWERED) == 1
    assert value("tops_ttft_seconds_count", ANSWERED) is None


def test_tokens_are_counted_apart_and_against_the_estimates() -> None:
    value = counted(answered(), answered(choices=2))
    assert value("tops_prompt_tokens_total", LABELS) == 18
    assert value("tops_thinking_tokens_total", LABELS) == 4
    assert value("tops_answer_tokens_total", LABELS) == 8
    assert value("tops_expected_thinking_tokens_total", LABELS) == 20 + 2 * 20
    assert value("tops_estimated_baseline_tokens_total", LABELS) == 240 + 2 * 240
    assert value("tops_budget_tokens_total", LABELS) == 10 + 2 * 10


def test_the_arms_sum_thinking_tokens_and_squared_misses() -> None:
    draw = Draw("treated", None, Shares(0.1), 0.0)
    decision = decision_with(10, estimate=ESTIMATE)._replace(draw=draw)
    value = counted(answered(decision=decision))
    labels = {"model": "m", "arm": "treated"}
    assert value("tops_arm_requests_total", labels) == 1
    assert value("tops_arm_thinking_tokens_total", labels) == 2
    assert value("tops_arm_baseline_tokens_total", labels) == 240
    assert value("tops_arm_squared_misses_total", labels) == (2 - 240) ** 2


def test_a_held_out_conversation_counts_once() -> None:
    def turn(arm: Arm, conversation: str) -> RequestRecord:
        draw = Draw(arm, None, Shares(0.5), 0.0)
        decision = decision_with(10, estimate=ESTIMATE)._replace(draw=draw)
        return answered(decision=decision, thread=Thread(conversation))

    turns: list[tuple[Arm, str]] = [
        ("holdout", "a"),
        ("holdout", "a"),
        ("treated", "c"),
        ("holdout", "b"),
    ]
    value = counted(*[turn(arm, name) for arm, name in turns])
    assert value("tops_held_out_conversations_total", {"model": "m"}) == 2
    assert value("tops_arm_requests_total", {"model": "m", "arm": "holdout"}) == 3


def test_a_failed_request_is_counted_without_tokens_and_times() -> None:
    value = counted(answered(status=502))
    assert value("tops_requests_total", {**LABELS, "status": "502"}) == 1
    assert value("tops_prompt_tokens_total", LABELS) is None
    assert value("tops_request_seconds_count", ANSWERED) is None


def test_a_request_refused_before_its_decision_is_counted_by_status() -> None:
    value = counted(RequestRecord("id", status=400, closed_at=1.0))
    labels = {"model": "", "effort": "", "source": "", "status": "400"}
    assert value("tops_requests_total", labels) == 1


def test_pressure_and_abstentions_follow_the_decision() -> None:
    decision = decision_with(10)._replace(pressure=0.25, abstained="no router artifact")
    value = counted(answered(decision=decision))
    assert value("tops_load_pressure") == 0.25
    assert value("tops_abstentions_total", {"model": "m"}) == 1


@pytest.mark.parametrize(
    ("choices", "thinking", "hits", "violations"),
    [(1, 9, 0, 0), (1, 10, 1, 0), (1, 11, 1, 1), (3, 30, 1, 0), (3, 31, 1, 1)],
)
def test_the_audit_counts_hit_and_exceeded_budgets(
    choices: int, thinking: int, hits: int, violations: int
) -> None:
    record = answered(choices=choices)
    record.record_usage(Usage(5, 100, thinking))
    value = counted(record)
    assert value("tops_budget_hits_total", LABELS) == hits
    assert (value("tops_budget_violations_total", {"model": "m"}) or 0) == violations
