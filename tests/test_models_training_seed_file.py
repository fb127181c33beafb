"""A seed from a file: what is refused, what is left out and counted, and what is counted anew."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from engines import DEMO

from models.outcomes.problem_sets import ProblemError
from models.training.chat import Chat
from models.training.recipe import Recipe
from models.training.run import RunError
from models.training.seed_file import read_seed_file

transformers: Any = pytest.importorskip("transformers", reason="needs the extra [train]")

EVALUATION = "Ann has 40 coins and loses 2 of them. How many coins does she have left over now?"


@pytest.fixture(scope="module")
def chat() -> Chat:
    return Chat(transformers.AutoTokenizer.from_pretrained(DEMO))


def row(number: int, effort: str = "low", **fields: Any) -> dict[str, Any]:
    return {
        "prompt": f"Kim has {number} pens and buys 1. How many pens?",
        "effort": effort,
        "reasoning": f"{number}+1={number + 1}",
        "response": f"The answer is {number + 1}.",
        **fields,
    }


def read(
    folder: Path, chat: Chat, rows: list[Any], counts: Counter[str] | None = None, **data: Any
) -> list[Any]:
    lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
    file = folder / "seed.jsonl.gz"
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    (folder / "test.jsonl").write_text(
        json.dumps({"problem_id": "t", "prompt": EVALUATION, "answer": "38"}) + "\n"
    )
    recipe = Recipe.model_validate(
        {
            "name": "r",
            "model": {"base": "x"},
            "seed": {"source": "file", "path": file},
            "data": {"evaluate": [{"path": folder / "test.jsonl"}], "most_broken": 0.5, **data},
        }
    )
    return read_seed_file(recipe, file, chat, Counter() if counts is None else counts)


def test_solutions_are_checked_and_counted(chat: Chat, tmp_path: Path) -> None:
    counts = Counter[str]()
    examples = read(
        tmp_path,
        chat,
        [
            row(1, answer="2", tokens=3, problem_id="one"),
            row(1, answer="2", tokens=3, problem_id="one"),
            row(2, "high", answer=3, reasoning="<think>\n2+1=3\n</think>"),
            row(3, answer="5"),
            row(4),
            {**row(5, answer="38"), "prompt": EVALUATION.upper()},
            row(6, "none", answer="7"),
            "no JSON",
        ],
        counts,
    )
    assert counts == Counter(
        read=6, repeated=1, broken=2, wrong=1, without_gold=1, contaminated=1, tokens_differ=1
    )
    assert examples[0].problem_id == "one"
    assert [example.reasoning for example in examples] == ["1+1=2", "2+1=3"]
    for example in examples:
        encoded = example.encode(chat)
        assert example.tokens == len(encoded.ids) - encoded.prompt


def test_gold_answers_may_come_from_the_problems_of_the_recipe(chat: Chat, tmp_path: Path) -> None:
    problems = tmp_path / "problems.jsonl"
    rows = [
        {"problem_id": "p1", "prompt": "unlike", "answer": "2"},
        {"problem_id": "p2", "prompt": row(2)["prompt"], "answer": "3"},
    ]
    problems.write_text("".join(f"{json.dumps(line)}\n" for line in rows))
    solutions = [row(1, problem_id="p1"), row(2)]
    assert len(read(tmp_path, chat, solutions, seed=[{"path": problems}])) == 2
    with pytest.raises(RunError, match="no solution with a gold answer: give each line an answer"):
        read(tmp_path, chat, solutions)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"effort": "extreme"}, "effort extreme, which model.efforts lacks"),
        ({"response": " "}, "an empty response or reasoning"),
        ({"reasoning": ""}, "an empty response or reasoning"),
        ({"reasoning": "a </think> b"}, "give the reasoning without its tags"),
        ({"reasoning": None}, "no text reasoning"),
        ({"solution": "x"}, "unknown solution; known are answer, effort"),
        ({"answer": ["2"]}, "an answer that is no text or number"),
        ({"answer": True}, "an answer that is no text or number"),
        ({"wrong": "2+1"}, "a wrong that is no list of"),
        ({"wrong": [1, 2]}, "a wrong that is no list of"),
        ({"wrong": [[0, 99]]}, "a wrong that is no list of"),
        ({"reasoning": "\ud800"}, "it is not a JSON object"),
    ],
)
def test_a_file_with_broken_lines_is_refused_with_the_first(
    chat: Chat, tmp_path: Path, broken: dict[str, Any], message: str
) -> None:
    rows = [row(1, answer="2"), {**row(2, answer="3"), **broken}]
    with pytest.raises(ProblemError, match=f"1 of 2 rows are broken(.|\n)*line 2: .*{message}"):
        read(tmp_path, chat, rows, most_broken=0.1)


def test_a_problem_is_known_by_its_prompt(chat: Chat, tmp_path: Path) -> None:
    efforts = ("low", "medium", "high")
    rows = [row(1, effort, answer="2", reasoning=effort, problem_id=effort) for effort in efforts]
    assert {example.problem_id for example in read(tmp_path, chat, rows)} == {"low"}
    rows = [row(number, answer=str(number + 1), problem_id="one") for number in (1, 2)]
    with pytest.raises(ProblemError, match="two different prompts have the problem_id one"):
        read(tmp_path, chat, rows)


def test_wrong_steps_stay_where_they_are_in_a_reasoning_without_its_tags(
    chat: Chat, tmp_path: Path
) -> None:
    reasoning = " <think>\nthink: 1+1=3. 1+1=2.\n</think>"
    start = reasoning.index("1+1=3.")
    rows = [row(1, answer="2", reasoning=reasoning, wrong=[[start, start + 6]])]
    (example,) = read(tmp_path, chat, rows)
    ((first, end),) = example.wrong
    assert example.reasoning[first:end] == "1+1=3."


def test_answers_are_checked_as_those_of_their_problem(chat: Chat, tmp_path: Path) -> None:
    choices = {"problem_id": "c", "prompt": "Which?", "answer": "B", "choices": ["red", "blue"]}
    problems = tmp_path / "problems.jsonl"
    problems.write_text(json.dumps(choices))
    rows = [row(1, problem_id="c", response="It is blue."), row(2, problem_id="c", response="red")]
    rows = [{**line, "prompt": "Which?"} for line in rows]
    (example,) = read(tmp_path, chat, rows, seed=[{"path": problems}])
    assert example.response == "It is blue."


def test_a_file_of_wrong_answers_is_refused_with_counts(chat: Chat, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no solution that may be trained on: read 2, wrong 2"):
        read(tmp_path, chat, [row(1, answer="9"), row(2, answer="9")])
