"""Rates, gaps in streams, the warm-up, and whether the load generator was the bottleneck."""

import asyncio
import time
from typing import Any

import pytest

from loadtest.generator_load import GeneratorLoad
from loadtest.html_report import html_report
from loadtest.plan import Arm, Plan, Slo
from loadtest.record import Record
from loadtest.report import Report
from loadtest.summary import summarise


def record(arm: str, problem: str, **options: Any) -> Record:
    ended = "error" if "error" in options else "answer"
    return Record(arm, problem, None, **{"ended": ended, "thinking_tokens": 10, **options})


def test_rates_are_per_second_of_the_run() -> None:
    rows = [
        record("a", "1", scheduled_at=10.0, latency=1.0, completion_tokens=30, prompt_tokens=7),
        record("a", "2", scheduled_at=12.0, latency=2.0, completion_tokens=50, prompt_tokens=8),
        record("a", "3", scheduled_at=10.0, latency=99.0, completion_tokens=9, client="slow"),
        record("b", "1", scheduled_at=18.0, latency=2.0, error="timeout"),
    ]
    summary = summarise(rows, "a")
    assert (summary["requests_per_second"], summary["tokens_per_second"]) == (0.2, 8.0)
    assert summary["prompt_tokens"].value == 7.5
    assert "requests_per_second" not in summarise(rows[:0], "a")
    plan = Plan(url="http://x", arms=(Arm(name="a"), Arm(name="b")))
    assert "| a | 0.20 | 8.00 | 7.5 | - | - | - |" in Report.of(plan, rows).markdown()


def test_requests_of_the_warm_up_do_not_count() -> None:
    rows = [
        record(arm, str(n), scheduled_at=100.0 + n, latency=9.0 if n < 5 else 1.0, ttft=0.1)
        for n in range(25)
        for arm in ("a", "b")
    ]
    plan = Plan(
        url="http://x",
        arms=(Arm(name="a"), Arm(name="b")),
        baseline="b",
        warmup_seconds=5,
        slo=Slo(latency_ms=2000),
    )
    report = Report.of(plan, rows, earlier=rows[10:40])
    assert report.notes == ["warm-up: 10 requests of the first 5 s omitted"]
    assert report.summaries[0]["requests"] == 20
    assert report.summaries[0]["latency_ms"]["p99"].value == 1000
    assert report.summaries[0]["requests_per_second"] == 1.0
    assert [comparison.pairs for comparison in report.comparisons] == [20, 10, 10]
    assert "latency 2000 ms: 1.00 requests/s, 100.0" in html_report(report)
    assert len(report.as_json()["records"]) == 50
    longer = Report.of(plan.model_copy(update={"warmup_seconds": 60}), rows)
    assert longer.notes[0].endswith(
        "60 s omitted, and none came later: plan a longer run or a shorter warm-up"
    )
    assert "| a | 0 | 0 |" in html_report(longer).replace("</td><td>", " | ").replace("<td>", "| ")


@pytest.mark.parametrize(
    ("share", "delay", "start_delay", "text"),
    [
        (0.34, 0.004, 0.002, "was not the bottleneck: 34 % of a core in its busiest second, its"),
        (0.97, 0.004, 0.002, "was the bottleneck: 97 % of a core in its busiest second, its event"),
        (0.34, 0.25, 0.002, "was the bottleneck: 34 % of a core in its busiest second, its event"),
        (0.34, 0.004, 0.25, "4 ms late (p99), requests up to 250 ms (p99); send less, or run"),
    ],
)
def test_the_report_says_whether_the_load_generator_was_the_bottleneck(
    share: float, delay: float, start_delay: float, text: str
) -> None:
    assert text in GeneratorLoad(share, [delay] * 20).note([start_delay] * 20)


def test_a_busy_load_generator_is_measured() -> None:
    async def watched() -> GeneratorLoad:
        load = GeneratorLoad()
        watching = asyncio.create_task(load.watch())
        await asyncio.sleep(0)
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass
        for _ in range(5):  # the event loop resumes the task
            await asyncio.sleep(0)
        watching.cancel()
        await asyncio.wait({watching})
        return load

    load = asyncio.run(watched())
    assert load.delays[0] > 0.2
    assert load.core_share > 0


def test_gaps_between_chunks_with_tokens() -> None:
    stalled = record("a", "1", latency=5.0)
    for seconds, is_answer in ((1.0, False), (1.25, False), (3.25, True), (3.5, True)):
        stalled.note_tokens(seconds, is_answer)
    assert (stalled.ttft, stalled.answer_ttft, stalled.longest_gap) == (1.0, 3.25, 2.0)
    assert stalled.itl == pytest.approx(2.5 / 3)
    summary = summarise([stalled], "a")
    milliseconds = {name: summary[f"{name}_ms"]["p50"].value for name in ("itl", "longest_gap")}
    assert milliseconds == {"itl": pytest.approx(2500 / 3), "longest_gap": 2000}
    only = record("a", "2")
    only.note_tokens(1.0, is_answer=True)
    assert (only.itl, only.longest_gap) == (None, None)
