"""Misbehaving servers: the load test records error classes, and counts no missing value as zero."""

import asyncio
import errno
import json
from collections.abc import Generator
from pathlib import Path

import pytest
from endpoint import Endpoint, misbehaving

from loadtest.client import Sender
from loadtest.intervals import wilson
from loadtest.plan import Arm, Plan
from loadtest.problem import Problem
from loadtest.record import Record
from loadtest.summary import summarise
from loadtest.workload import Task
from tops import main


@pytest.fixture(scope="module")
def endpoint() -> Generator[Endpoint]:
    with misbehaving() as server:
        yield server


def measure(url: str, budget: int | None = None, seconds: float = 60) -> Record:
    arm = Arm(name="a", effort="low")
    plan = Plan(url=url, arms=(arm,), timeout_seconds=seconds)

    async def request() -> Record:
        async with Sender(plan, 1) as sender:
            task = Task((Problem("p", "2 + 3?", "5"),), arm, budget)
            return await anext(sender.run_conversation(task))

    return asyncio.run(request())


def test_a_good_stream_is_measured(endpoint: Endpoint) -> None:
    record = measure(f"{endpoint.url}/sse", budget=3)
    assert record.error is None
    assert record.correct
    assert record.answered
    assert (record.thinking_tokens, record.completion_tokens) == (3, 9)
    assert record.ttft
    assert record.answer_ttft
    assert record.last_token
    assert record.ttft <= record.answer_ttft <= record.last_token <= record.latency


@pytest.mark.parametrize("name", ["sse-separators", "sse-null-error", "sse-no-done", "sse-returns"])
def test_unusual_streams_are_no_errors(endpoint: Endpoint, name: str) -> None:
    """Line separators inside of strings, an error that is null, no [DONE], other line ends."""
    record = measure(f"{endpoint.url}/{name}")
    assert (record.ended, record.error, record.correct) == ("answer", None, True)


def test_a_tool_call_has_a_ttft(endpoint: Endpoint) -> None:
    record = measure(f"{endpoint.url}/sse-tool-call")
    assert (record.ended, record.answered) == ("answer", False)
    assert record.ttft
    assert record.answer_ttft == record.ttft


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("sse-broken-chunk", "broken chunk"),
        ("sse-odd-chunk", "broken chunk"),
        ("sse-short", "broken stream"),
        ("sse-error", "error event"),
        ("sse-string-error", "error event"),
        ("sse-object-error", "error event"),
        ("sse-choice-error", "error event"),
        ("sse-error-finish", "error event"),
        ("sse-error-event", "error event"),
        ("sse-odd-usage", "broken chunk"),
        ("sse-no-usage", "no usage"),
        ("html", "broken stream"),
        ("busy", "HTTP 503"),
    ],
)
def test_a_bad_answer_has_an_error_class(endpoint: Endpoint, name: str, error: str) -> None:
    assert measure(f"{endpoint.url}/{name}").error == error


def test_the_record_has_the_server_s_error_message(endpoint: Endpoint) -> None:
    refused = measure(f"{endpoint.url}/refuses")
    assert (refused.error, refused.status, refused.message) == ("HTTP 400", 400, "too long")
    assert measure(f"{endpoint.url}/busy-odd").message == "busy"
    failed = measure(f"{endpoint.url}/sse-error")
    assert (failed.error, failed.message) == ("error event", "died")
    row = summarise([refused, failed, refused], "a")
    assert row["messages"] == {"HTTP 400": "too long", "error event": "died"}


def test_a_refused_connection_and_a_timeout_have_error_classes(endpoint: Endpoint) -> None:
    no_server = measure("http://127.0.0.1:1")
    assert no_server.error == "ConnectError"
    assert f"[Errno {errno.ECONNREFUSED}]" in (no_server.message or "")
    assert measure(f"{endpoint.url}/slow", seconds=0.05).error == "timeout"


def test_a_budget_that_cannot_be_checked_is_an_error(endpoint: Endpoint) -> None:
    url = f"{endpoint.url}/sse-plain-usage"
    assert measure(url, budget=10).error == "no reasoning_tokens"
    record = measure(url)
    assert record.error is None
    row = summarise([record], "a")
    assert row["accuracy"].value == 1
    assert "thinking_tokens" not in row


@pytest.mark.parametrize(
    ("lines", "key", "message"),
    [
        ([], "", "no problems"),
        (["5"], "", "line 1"),
        (['{"problem_id": "a", "prompt": "p", "answer": "5"}'] * 2, "", "the id a repeats"),
        (['{"problem_id": "a", "prompt": "p", "answer": "5"}', "{"], "", "line 2"),
        (
            ['{"problem_id": "a", "prompt": "p", "answer": "5"}'],
            'api_key_env = "UNSET_KEY"',
            "no U",
        ),
    ],
)
def test_a_plan_that_cannot_be_run_exits_with_2(
    lines: list[str], key: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.jsonl").write_text("".join(f"{line}\n" for line in lines))
    plan = tmp_path / "plan.toml"
    file = json.dumps(str(tmp_path / "p.jsonl"))
    plan.write_text(
        f'url = "http://127.0.0.1:1/v1"\n{key}\n[problems]\nfile = {file}\n[[arms]]\nname = "a"\n'
    )
    assert main(["load", str(plan)]) == 2
    assert message in capsys.readouterr().err


def test_a_report_in_an_absent_folder_is_refused_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["load", "plan.toml", "--json", str(tmp_path / "absent" / "report.json")]) == 2
    assert "absent" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--json", "--csv", "--html"])
def test_a_report_that_cannot_be_written_exits_with_2_after_the_tables(
    endpoint: Endpoint, flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "2 + 3?"}\n')
    plan = tmp_path / "plan.toml"
    plan.write_text(
        f'url = "{endpoint.url}/sse"\nproblems = {{file = "p.jsonl"}}\narms = [{{name = "a"}}]\n'
    )
    assert main(["load", str(plan), flag, "/dev/full"]) == 2
    printed = capsys.readouterr()
    assert "| a | 1 | 0 |" in printed.out
    assert "No space left on device" in printed.err


@pytest.mark.parametrize(("hits", "n", "low", "high"), [(0, 10, 0, 0.2775), (10, 10, 0.7225, 1)])
def test_wilson_has_a_width_at_both_ends(hits: int, n: int, low: float, high: float) -> None:
    interval = wilson(hits, n)
    assert interval.low == pytest.approx(low, abs=1e-4)
    assert interval.high == pytest.approx(high, abs=1e-4)
