"""Conversations and clients of every kind, against a scripted engine over real sockets."""

import asyncio
import json
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from endpoint import misbehaving
from engines import scripted
from processes import serving

from loadtest.conversations import read_conversations
from loadtest.plan import Arm, Clients, Plan, Problems
from loadtest.problem import Problem
from loadtest.record import Record
from loadtest.run import run
from loadtest.summary import summarise
from loadtest.workload import Task, plan_tasks
from tops import main


@pytest.fixture(scope="module")
def engine() -> Generator[str]:
    with scripted() as url:
        yield url


def counted(engine: str) -> dict[str, int]:
    return httpx.get(f"{engine}/counts").json()


def had(url: str, content: str, n: int = 10, model: str = "demo", **tables: Any) -> list[Record]:
    """The records of `n` conversations of one turn each."""
    plan = Plan(url=url, model=model, arms=(Arm(name="a", effort="low"),), **tables)
    conversations = [(Problem(str(place), content),) for place in range(n)]
    return asyncio.run(run(plan, plan_tasks(plan, conversations), None))


def test_turns_share_their_conversation(engine: str) -> None:
    arm = Arm(name="a", effort="low")
    turns = tuple(Problem(str(n), f"think=1 chunks={n + 2}") for n in range(3))
    before = counted(engine)["messages"]
    records = asyncio.run(run(Plan(url=f"{engine}/v1", arms=(arm,)), [Task(turns, arm)], None))
    assert [(one.turn, one.completion_tokens) for one in records] == [(0, 3), (1, 4), (2, 5)]
    assert counted(engine)["messages"] - before == 1 + 3 + 5
    assert {one.correct for one in records} == {None}


def test_instructions_come_first_and_stay(engine: str, tmp_path: Path) -> None:
    spoken = [("developer", "be brief"), ("user", "2 + 3?"), ("user", "3 + 4?")]
    messages = [{"role": who, "content": what} for who, what in spoken]
    file = tmp_path / "p.jsonl"
    file.write_text(json.dumps({"messages": messages}))
    (turns,) = read_conversations(Problems(file=file, turns=2), [])
    arm, before = Arm(name="a", effort="low"), counted(engine)["messages"]
    asyncio.run(run(Plan(url=f"{engine}/v1", arms=(arm,)), [Task(turns, arm)], None))
    assert counted(engine)["messages"] - before == 2 + 4
    with misbehaving() as endpoint:
        asyncio.run(run(Plan(url=f"{endpoint.url}/sse", arms=(arm,)), [Task(turns, arm)], None))
    sent = json.loads(endpoint.body)["messages"]
    assert [one["role"] for one in sent] == ["system", "user", "assistant", "user"]
    assert [sent[place]["content"] for place in (0, 1, 3)] == ["be brief", "2 + 3?", "3 + 4?"]


def test_tool_results_go_on_in_the_conversation(engine: str) -> None:
    before = counted(engine)["messages"]
    records = had(f"{engine}/v1", "think=1 chunks=2", n=1, problems=Problems(tool_results=2))
    assert [(one.turn, one.ended) for one in records] == [(n, "answer") for n in range(3)]
    assert counted(engine)["messages"] - before == 1 + 3 + 5


def test_a_conversation_ends_where_it_is_not_answered(engine: str) -> None:
    records = had(f"{engine}/v1", "error=503", n=2, problems=Problems(tool_results=2))
    assert [(one.turn, one.error) for one in records] == [(0, "HTTP 503")] * 2


def test_clients_that_leave_are_no_errors_and_the_engine_stops(engine: str) -> None:
    records = had(
        f"{engine}/v1", "endless rate=100", clients=Clients(disconnecting=1, disconnect_after=3)
    )
    assert {one.ended for one in records} == {"disconnected"}
    assert {one.error for one in records} == {None}
    assert counted(engine)["running"] == 0


def test_slow_clients_get_their_whole_answer_in_their_own_time(engine: str) -> None:
    slow = had(
        f"{engine}/v1",
        "think=5 chunks=60",
        n=2,
        clients=Clients(slow=1, slow_bytes_per_second=20_000),
    )
    quick = had(f"{engine}/v1", "think=5 chunks=60", n=2)
    assert {one.completion_tokens for one in (*slow, *quick)} == {65}
    assert min(one.latency for one in slow) > 0.4 > max(one.latency for one in quick)


def test_malformed_requests_should_be_refused(gateway: str) -> None:
    refused = had(f"{gateway}/v1", "2 + 3?", n=6, clients=Clients(malformed=1))
    assert {(one.ended, one.error) for one in refused} == {("refused", None)}
    with misbehaving() as endpoint:
        answered = had(f"{endpoint.url}/sse", "2 + 3?", n=2, clients=Clients(malformed=1))
        for status in (401, 404, 429, 503):
            url = f"{endpoint.url}/status-{status}"
            for one in had(url, "2 + 3?", n=2, clients=Clients(malformed=1)):
                assert (one.ended, one.error) == ("error", f"malformed, HTTP {status}")
        refused = had(f"{endpoint.url}/status-422", "2 + 3?", n=2, clients=Clients(malformed=1))
    assert {one.error for one in answered} == {"malformed, HTTP 200"}
    assert {one.error for one in refused} == {None}


def test_refusals_are_no_answers(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where everybody else met errors, the status says so."""
    rows = [{"problem_id": n, "prompt": "error=503"} for n in range(20)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan, share = tmp_path / "plan.toml", "clients = {malformed = 0.5}"
    text = f'url = "{engine}/v1"\nproblems = {{file = "p.jsonl"}}\narms = [{{name = "a"}}]\n'
    plan.write_text(f"{share}\n{text}")
    assert main(["load", str(plan)]) == 1
    told = capsys.readouterr()
    assert " refused" in told.out
    assert "answered (HTTP 503)" in told.err
    plan.write_text(f"{share.replace('0.5', '1')}\n{text}")
    assert main(["load", str(plan)]) == 0


def test_an_engine_that_tells_no_usage_is_an_error_class_through_the_gateway(engine: str) -> None:
    """Never a zero: neither in the report's tokens nor in the gateway's."""
    with serving("--upstream", engine) as server:
        records = had(f"{server.url}/v1", "bare think=3 chunks=5", n=4, model="fake")
        told = httpx.get(f"{server.url}/metrics").text
    assert [one.error for one in records] == ["no usage"] * 4
    assert {one.thinking_tokens for one in records} == {None}
    row = summarise(records, "a")
    assert row["errors"] == {"no usage": 4}
    assert "thinking_tokens" not in row
    assert not re.search(r"^tops_thinking_tokens_total\{", told, re.MULTILINE)


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


def test_a_run_is_held_against_an_earlier_one(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": f"think={n + 30} chunks=3"}) + "\n" for n in range(20))
    )
    plan, before = tmp_path / "plan.toml", tmp_path / "before.json"

    def ran(effort: str, budget: str, *flags: str) -> str:
        plan.write_text(
            f'url = "{engine}/v1"\n[problems]\nfile = "prompts.jsonl"\n'
            f'[[arms]]\nname = "{effort}"\neffort = "{effort}"\n{budget}\n'
        )
        assert main(["load", str(plan), *flags]) == 0
        return capsys.readouterr().out

    ran("high", "", "--json", str(before))
    told = ran("low", "budget = [10, 10]", "--baseline", str(before), "--json", str(tmp_path / "b"))
    assert "violations" in told
    saved = json.loads((tmp_path / "b").read_text())["comparisons"][0]
    whole = sum(range(30, 50))
    assert saved["baseline"] == "high before"
    assert saved["pairs"] == 20
    assert saved["figures"]["thinking_tokens_saved"]["value"] == pytest.approx(1 - 200 / whole)
    assert "low against high before, 20 pairs" in ran("low", "", "--baseline", str(before))
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "think=30 chunks=4"}\n')
    told = ran("low", "", "--baseline", str(before))
    assert "low and the earlier run have no answered problem in common" in told
    assert "against" not in told
    assert main(["load", str(plan), "--baseline", str(plan)]) == 2
    assert "has no records of tops load" in capsys.readouterr().err
