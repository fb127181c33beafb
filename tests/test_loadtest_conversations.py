"""Conversations, and clients of every kind, against the fake engine."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from endpoint import misbehaving
from engines import scripted
from polling import PATIENCE_SECONDS
from processes import serving

from loadtest.conversations import read_conversations
from loadtest.plan import Arm, Clients, Plan, Problems
from loadtest.problem import Problem
from loadtest.record import Record
from loadtest.summary import summarise
from loadtest.task_runner import run
from loadtest.workload import Task, plan_tasks
from tops import main


@pytest.fixture(scope="module")
def engine() -> Generator[str]:
    with scripted() as url:
        yield url


def counters(engine: str) -> dict[str, int]:
    return httpx.get(f"{engine}/counts").json()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def converse(
    url: str, content: str, n: int = 10, model: str = "demo", **tables: Any
) -> list[Record]:
    """The records of `n` conversations of one turn each."""
    plan = Plan(url=url, model=model, arms=(Arm(name="a", effort="low"),), **tables)
    conversations = [(Problem(str(index), content),) for index in range(n)]
    return asyncio.run(run(plan, plan_tasks(plan, conversations), None))


def test_each_turn_sends_the_conversation_so_far(engine: str) -> None:
    arm = Arm(name="a", effort="low")
    turns = tuple(Problem(str(n), f"think=1 chunks={n + 2}") for n in range(3))
    before = counters(engine)["messages"]
    records = asyncio.run(run(Plan(url=f"{engine}/v1", arms=(arm,)), [Task(turns, arm)], None))
    assert [(record.turn, record.completion_tokens) for record in records] == [
        (0, 3),
        (1, 4),
        (2, 5),
    ]
    assert counters(engine)["messages"] - before == 1 + 3 + 5
    assert {record.correct for record in records} == {None}


def test_the_system_message_opens_the_conversation(engine: str, tmp_path: Path) -> None:
    roles = [("developer", "be brief"), ("user", "2 + 3?"), ("user", "3 + 4?")]
    messages = [{"role": role, "content": content} for role, content in roles]
    file = tmp_path / "p.jsonl"
    file.write_text(json.dumps({"messages": messages}))
    (turns,) = read_conversations(Problems(file=file, turns=2), [])
    arm, before = Arm(name="a", effort="low"), counters(engine)["messages"]
    asyncio.run(run(Plan(url=f"{engine}/v1", arms=(arm,)), [Task(turns, arm)], None))
    assert counters(engine)["messages"] - before == 2 + 4
    with misbehaving() as endpoint:
        asyncio.run(run(Plan(url=f"{endpoint.url}/sse", arms=(arm,)), [Task(turns, arm)], None))
    messages_sent = json.loads(endpoint.body)["messages"]
    assert [message["role"] for message in messages_sent] == ["system", "user", "assistant", "user"]
    assert [messages_sent[index]["content"] for index in (0, 1, 3)] == [
        "be brief",
        "2 + 3?",
        "3 + 4?",
    ]


def test_tool_results_continue_the_conversation(engine: str) -> None:
    before = counters(engine)["messages"]
    records = converse(f"{engine}/v1", "think=1 chunks=2", n=1, problems=Problems(tool_results=2))
    assert [(record.turn, record.ended) for record in records] == [(n, "answer") for n in range(3)]
    assert counters(engine)["messages"] - before == 1 + 3 + 5


def test_a_conversation_ends_with_its_unanswered_request(engine: str) -> None:
    records = converse(f"{engine}/v1", "error=503", n=2, problems=Problems(tool_results=2))
    assert [(record.turn, record.error) for record in records] == [(0, "HTTP 503")] * 2


def test_disconnects_are_no_errors_and_the_engine_stops(engine: str) -> None:
    records = converse(
        f"{engine}/v1", "endless rate=100", clients=Clients(disconnecting=1, disconnect_after=3)
    )
    assert {record.ended for record in records} == {"disconnected"}
    assert {record.error for record in records} == {None}
    wait_until(lambda: counters(engine)["running"] == 0)


def test_slow_clients_receive_the_complete_answer_slowly(engine: str) -> None:
    slow = converse(
        f"{engine}/v1",
        "think=5 chunks=60",
        n=2,
        clients=Clients(slow=1, slow_bytes_per_second=20_000),
    )
    quick = converse(f"{engine}/v1", "think=5 chunks=60", n=2)
    assert {record.completion_tokens for record in (*slow, *quick)} == {65}
    slowest_normal = max(record.latency for record in quick)
    assert min(record.latency for record in slow) > max(0.4, slowest_normal)


def test_a_malformed_request_that_is_not_refused_is_an_error(gateway: str) -> None:
    refused = converse(f"{gateway}/v1", "2 + 3?", n=6, clients=Clients(malformed=1))
    assert {(record.ended, record.error) for record in refused} == {("refused", None)}
    with misbehaving() as endpoint:
        answered = converse(f"{endpoint.url}/sse", "2 + 3?", n=2, clients=Clients(malformed=1))
        for status in (401, 404, 429, 503):
            url = f"{endpoint.url}/status-{status}"
            for record in converse(url, "2 + 3?", n=2, clients=Clients(malformed=1)):
                assert (record.ended, record.error) == ("error", f"malformed, HTTP {status}")
        refused = converse(
            f"{endpoint.url}/status-422", "2 + 3?", n=2, clients=Clients(malformed=1)
        )
    assert {record.error for record in answered} == {"malformed, HTTP 200"}
    assert {record.error for record in refused} == {None}


def test_refusals_do_not_count_as_answers_in_the_exit_status(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If all other requests fail, the exit status is 1."""
    rows = [{"problem_id": n, "prompt": "error=503"} for n in range(20)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan, share = tmp_path / "plan.toml", "clients = {malformed = 0.5}"
    text = f'url = "{engine}/v1"\nproblems = {{file = "p.jsonl"}}\narms = [{{name = "a"}}]\n'
    plan.write_text(f"{share}\n{text}")
    assert main(["load", str(plan)]) == 1
    printed = capsys.readouterr()
    assert " refused" in printed.out
    assert "answered (HTTP 503)" in printed.err
    plan.write_text(f"{share.replace('0.5', '1')}\n{text}")
    assert main(["load", str(plan)]) == 0


def test_missing_usage_is_an_error_class_through_the_gateway(engine: str) -> None:
    """Neither the report nor the gateway counts missing tokens as zero."""
    with serving("--upstream", engine) as server:
        records = converse(f"{server.url}/v1", "bare think=3 chunks=5", n=4, model="fake")
        metrics = httpx.get(f"{server.url}/metrics").text
    assert [record.error for record in records] == ["no usage"] * 4
    assert {record.thinking_tokens for record in records} == {None}
    row = summarise(records, "a")
    assert row["errors"] == {"no usage": 4}
    assert "thinking_tokens" not in row
    assert not re.search(r"^tops_thinking_tokens_total\{", metrics, re.MULTILINE)


def test_clients_are_drawn_by_their_shares_and_the_same_in_every_arm() -> None:
    clients = Clients(disconnecting=0.2, slow=0.1, malformed=0.05)
    arms = (Arm(name="a"), Arm(name="b"))
    plan = Plan(url="http://x", arms=arms, clients=clients)
    tasks = plan_tasks(plan, [(Problem(str(n), "?"),) for n in range(4000)])
    shares = [
        sum(task.client == kind for task in tasks) / len(tasks)
        for kind in ("disconnecting", "slow", "malformed", "normal")
    ]
    assert shares == pytest.approx([0.2, 0.1, 0.05, 0.65], abs=0.03)
    drawn = [{t.conversation: t.client for t in tasks if t.arm.name == arm} for arm in "ab"]
    assert drawn[0] == drawn[1]


def test_a_run_is_compared_with_an_earlier_run(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": f"think={n + 30} chunks=3"}) + "\n" for n in range(20))
    )
    plan, before = tmp_path / "plan.toml", tmp_path / "before.json"

    def load(effort: str, budget: str, *flags: str) -> str:
        plan.write_text(
            f'url = "{engine}/v1"\n[problems]\nfile = "prompts.jsonl"\n'
            f'[[arms]]\nname = "{effort}"\neffort = "{effort}"\n{budget}\n'
        )
        assert main(["load", str(plan), *flags]) == 0
        return capsys.readouterr().out

    load("high", "", "--json", str(before))
    printed = load(
        "low", "budget = [10, 10]", "--baseline", str(before), "--json", str(tmp_path / "b")
    )
    assert "violations" in printed
    saved = json.loads((tmp_path / "b").read_text())["comparisons"][0]
    whole = sum(range(30, 50))
    assert saved["baseline"] == "high before"
    assert saved["pairs"] == 20
    assert saved["figures"]["thinking_tokens_saved"]["value"] == pytest.approx(1 - 200 / whole)
    assert "low against high before, 20 pairs" in load("low", "", "--baseline", str(before))
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "think=30 chunks=4"}\n')
    printed = load("low", "", "--baseline", str(before))
    assert "low and the earlier run have no answered problem in common" in printed
    assert "against" not in printed
    assert main(["load", str(plan), "--baseline", str(plan)]) == 2
    assert "has no records of tops load" in capsys.readouterr().err
