"""A load test judges items of reasoning-gym by their own scorers, in a child of its own."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from endpoint import misbehaving

from loadtest.client import Sender
from loadtest.judge import judge
from loadtest.plan import Arm, Plan, PlanError
from loadtest.problem import Problem
from loadtest.problem_file import parse_conversations
from loadtest.record import Record
from loadtest.scorer import Scorer, check_scorer
from loadtest.workload import Task
from models.outcomes.judge_lines import judge_lines
from models.outcomes.verify import Judge
from models.sandbox.sandbox import unsupported


def item(answer: str, task: str = "chain_sum") -> dict[str, Any]:
    return {
        "task": task, "difficulty": {}, "question": "2 + 3 =", "answer": answer, "metadata": {},
    }  # fmt: skip


def test_a_problem_file_s_scorer_is_kept_and_its_answer_is_no_number() -> None:
    row = {"problem_id": "a", "prompt": "Spell tac backward.", "answer": "cat"}
    text = json.dumps({**row, "reasoning_gym": item("cat", "spell_backward")})
    ((problem,),) = parse_conversations("file", text)
    assert problem.check == item("cat", "spell_backward")


def test_lines_are_judged_by_what_they_have() -> None:
    lines = [
        {"id": 1, "response": "The answer is 5.", "answer": "5"},
        {"id": 2, "response": "The answer is 6.", "answer": "5"},
        {"id": 3, "response": "(B)", "answer": "B", "choices": ["54", "56"]},
        {"id": 4, "response": "5", "answer": ""},
        {"id": 5, "response": "print(1)", "tests": "assert 1"},
        {"id": 6},
        {"id": 7, "response": "45%", "answer": "45", "prompt": "What percent is 9 of 20?"},
        {"id": 8, "response": "45%", "answer": "45", "prompt": "What is 5 times 9?"},
    ]
    source = io.StringIO("".join(f"{json.dumps(line)}\n" for line in lines) + "{\n")
    out = io.StringIO()
    with Judge() as judge:
        asyncio.run(judge_lines(source, out, judge))
    verdicts = {row["id"]: row for row in map(json.loads, out.getvalue().splitlines())}
    assert [verdicts[number].get("correct") for number in (1, 2, 3)] == [True, False, True]
    assert [verdicts[number].get("correct") for number in (7, 8)] == [True, False]
    assert "the answer is empty" in verdicts[4]["error"]
    assert "--run-code" in verdicts[5]["error"]
    assert verdicts[6]["error"] == "no answer to judge: field response is missing"
    assert verdicts[None]["error"].startswith("no answer to judge: not JSON (")


def test_a_percent_sign_is_right_where_the_question_speaks_of_percent() -> None:
    verdicts: list[bool | None] = []
    for question in ("What percent is 9 of 20?", "What is 5 times 9?"):
        record = Record("auto", "p", None)
        judge(record, "45", "The answer is 45%.", question)
        verdicts.append(record.correct)
    assert verdicts == [True, False]


@pytest.mark.skipif(unsupported() is not None, reason=str(unsupported()))
def test_answers_are_scored_after_they_are_measured() -> None:
    pytest.importorskip("reasoning_gym", reason="the extra [gym] is not installed")
    arm = Arm(name="a", effort="low")
    problems = [Problem(gold, "2 + 3?", gold, check=item(gold)) for gold in ("5", "6")]

    async def requests(url: str) -> list[Record]:
        plan = Plan(url=url, arms=(arm,), timeout_seconds=60)
        await check_scorer(problems)
        async with Sender(plan, 1) as sender:
            return [
                await anext(sender.run_conversation(Task((problem,), arm))) for problem in problems
            ]

    with misbehaving() as endpoint:
        records = asyncio.run(requests(f"{endpoint.url}/sse"))
    assert [record.correct for record in records] == [True, False]


@pytest.mark.skipif(unsupported() is not None, reason=str(unsupported()))
def test_a_scorer_that_is_not_there_stops_the_test_before_it_starts() -> None:
    pytest.importorskip("reasoning_gym", reason="the extra [gym] is not installed")
    broken = Problem("a", "?", check={"task": "chain_sum"})
    with pytest.raises(PlanError, match="a cannot be judged: no answer to judge"):
        asyncio.run(check_scorer([broken]))


@pytest.mark.parametrize("child", [["false"], ["sh", "-c", "exec >&-; cat >/dev/null"]])
def test_answers_after_the_child_s_end_are_not_judged(
    monkeypatch: pytest.MonkeyPatch, child: list[str]
) -> None:
    """The child is gone, or it still reads and says nothing more: neither is waited for."""
    monkeypatch.setattr("loadtest.scorer.python_command", lambda *_: child)

    async def verdicts() -> list[dict[str, Any]]:
        async with Scorer() as scorer:
            problem = Problem("a", "?", check=item("5"))
            return [await scorer.verdict(problem, "5") for _ in range(2)]

    assert all("has ended" in verdict["error"] for verdict in asyncio.run(verdicts()))


def test_without_scored_problems_nothing_is_started(tmp_path: Path) -> None:
    asyncio.run(check_scorer([Problem(str(tmp_path), "?", "5")]))
