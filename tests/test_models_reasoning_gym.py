"""reasoning-gym: its items as problems, its scorers as judges, on tasks of many kinds."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from models.commands import problems_command
from models.outcomes.check import GymItem
from models.outcomes.gym_answer import committed_answer
from models.outcomes.gym_problems import GymTask, gym_problems
from models.outcomes.problem_sets import Problem, ProblemError, read_problems
from models.outcomes.verify import Judge, JudgeError
from models.sandbox.gym import decoded, encoded
from models.sandbox.sandbox import unsupported

pytest.importorskip("reasoning_gym", reason="the extra [gym] is not installed")
pytestmark = pytest.mark.skipif(unsupported() is not None, reason=str(unsupported()))

TASKS = (
    *("knights_knaves", "syllogism", "zebra_puzzles"),  # logic
    *("simple_equations", "polynomial_multiplication", "simple_integration"),  # algebra
    *("spell_backward", "caesar_cipher", "letter_counting", "string_insertion"),  # strings
    *("countdown", "mini_sudoku", "n_queens", "tower_of_hanoi", "maze"),  # games
    *("simple_geometry", "advanced_geometry"),  # geometry
    *("leg_counting", "prime_factorization", "fraction_simplification"),  # arithmetic
    *("shortest_path", "largest_island"),  # graphs
    *("arc_1d", "rearc"),  # induction; the latter's scorer tells tuples from lists
)


@pytest.fixture(scope="module")
def items() -> Mapping[str, list[Problem]]:
    problems = gym_problems([GymTask(task, 2) for task in (*TASKS, "graph_color")])
    return {
        task: [problem for problem in problems if problem.kind == task]
        for task in (*TASKS, "graph_color")
    }


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(seconds=30) as judge:
        yield judge


def is_right(judge: Judge, response: str, problem: Problem, truncated: bool = False) -> bool:
    return asyncio.run(judge.is_correct(response, problem.answer, truncated, problem.check))


@pytest.mark.parametrize("task", TASKS)
def test_a_task_s_own_answers_are_right_and_those_of_other_items_wrong(
    items: Mapping[str, list[Problem]], judge: Judge, task: str
) -> None:
    assert len(items[task]) == 2
    for problem in items[task]:
        gold = problem.answer
        assert is_right(judge, f"<think>Hm.</think>So:\n<answer>{gold}</answer>", problem)
        other = next((item.answer for item in items[task] if item.answer != gold), "42")
        for wrong in (
            "",
            "<answer></answer>",
            f"<answer>{other}</answer>",
            f"<answer>{gold} or {other}</answer>",
            f"<answer>not {gold}</answer>",
            f"<answer>{gold}</answer> No: <answer>{other}</answer>",
            f"<think><answer>{gold}</answer></think>I do not know.",
            f"It could be {gold}, or perhaps {other}.",
            problem.prompt,
        ):
            assert not is_right(judge, wrong, problem), wrong


def test_an_answer_may_be_another_than_the_known_one(
    items: Mapping[str, list[Problem]], judge: Judge
) -> None:
    (problem, *_) = items["graph_color"]
    assert isinstance(problem.check, GymItem)
    assert problem.check.answer is None
    puzzle = decoded(problem.check.metadata)["puzzle"]
    colours = colouring(puzzle, {})
    assert colours is not None
    assert is_right(judge, f"<answer>{json.dumps(colours)}</answer>", problem)
    same = dict.fromkeys(colours, 1)
    assert not is_right(judge, f"<answer>{json.dumps(same)}</answer>", problem)


def colouring(puzzle: Mapping[str, Any], colours: dict[str, int]) -> dict[str, int] | None:
    vertex = next((v for v in puzzle["vertices"] if str(v) not in colours), None)
    if vertex is None:
        return colours
    for colour in puzzle["color_options"]:
        neighbours = [b if a == vertex else a for a, b in puzzle["edges"] if vertex in (a, b)]
        if all(colours.get(str(n)) != colour for n in neighbours) and (
            complete := colouring(puzzle, {**colours, str(vertex): colour})
        ):
            return complete
    return None


@pytest.mark.parametrize(
    ("response", "gold", "committed"),
    [
        ("<answer>12</answer>", "12", "12"),
        (r"<answer>\boxed{12}</answer>", "12", "12"),
        ("It is <answer>12", "12", "12"),
        ("There are 12 legs.", "12", "12"),
        ("There are 12 or 13 legs.", "12", None),
        ("There are 13 legs, not 12.", "12", None),
        ("olleh.", "olleh", "olleh"),
        ("No, it does not follow.", "No", "No"),
        ("Yes and no.", "No", None),
        ("The answer is **olleh**.", "olleh", "olleh"),
        ("I would spell it olleh or so", "olleh", None),
        ("It is not Zoey is a knight", "Zoey is a knight", None),
        ("<think><answer>5</answer></think>", "5", None),
        (r"\boxed{a*b}", "a*b", "a*b"),
    ],
)
def test_the_answer_that_a_response_commits_to(
    response: str, gold: str, committed: str | None
) -> None:
    assert committed_answer(response, gold, truncated=False) == committed


def test_a_cut_tag_is_an_answer_only_where_the_response_ended_by_itself() -> None:
    assert committed_answer("<answer>a b", "a b", truncated=True) is None


def test_an_answer_that_is_evaluated_cannot_reach_anything(
    items: Mapping[str, list[Problem]], judge: Judge, tmp_path: Path
) -> None:
    target = tmp_path / "written"
    code = f"__import__('pathlib').Path({str(target)!r}).write_text('x')"
    for task in ("string_insertion", "n_queens", "polynomial_multiplication", "countdown"):
        for problem in items[task]:
            assert not is_right(judge, f"<answer>[{code}]</answer>", problem)
            assert not is_right(judge, f"<answer>{code}</answer>", problem)
    assert not target.exists()


def test_a_scorer_that_takes_too_long_makes_the_answer_wrong(
    items: Mapping[str, list[Problem]],
) -> None:
    (problem, *_) = items["polynomial_multiplication"]
    with Judge(seconds=1) as judge:
        assert not is_right(judge, "<answer>9**9**9**9</answer>", problem)


def test_items_come_back_the_same_from_a_file(tmp_path: Path, judge: Judge) -> None:
    arguments = ["--reasoning-gym", "leg_counting,rearc", "--n", "2", "--seed", "7"]
    texts = [CliRunner().invoke(problems_command, arguments).output for _ in range(2)]
    assert texts[0] == texts[1]
    file = tmp_path / "problems.jsonl"
    file.write_text(texts[0])
    problems = read_problems(str(file))
    assert [problem.kind for problem in problems] == ["leg_counting"] * 2 + ["rearc"] * 2
    assert problems == gym_problems([GymTask("leg_counting", 2, 7), GymTask("rearc", 2, 7)])
    assert all(is_right(judge, f"<answer>{p.answer}</answer>", p) for p in problems)


def test_two_seeds_share_no_item_and_difficulty_is_the_task_s_configuration() -> None:
    tasks = [
        GymTask("chain_sum", 30, seed, {"min_terms": n, "max_terms": n})
        for seed, n in ((1, 2), (2, 2), (1, 6))
    ]
    problems = gym_problems(tasks)
    first, second, hard = problems[:30], problems[30:60], problems[60:]
    # the library's own seeds 1 and 2 share all but one
    assert not {p.problem_id for p in first} & {p.problem_id for p in second}
    assert max(len(p.prompt) for p in first) < min(len(p.prompt) for p in hard)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (GymTask("leg_countin", 1), "no task 'leg_countin': did you mean leg_counting"),
        (GymTask("coin_flip", 1), "coin_flip is left out: its scorer accepts one constant"),
        (GymTask("leg_counting", 1, 0, {"animals": 3}), "has no 'animals' to set; it has min_an"),
        (GymTask("leg_counting", 1, 0, {"max_animals": 0}), "max_animals must be >="),
        (GymTask("leg_counting", 1, 10**6), "seeds of reasoning-gym are 0 to"),
        (
            GymTask("count_bits", 9, 0, {"min_n": 1, "max_n": 3}),
            "distinct items in .* not 9: ask for fewer, or widen",
        ),
    ],
)
def test_what_the_library_does_not_have_is_an_error_that_helps(task: GymTask, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        gym_problems([task])


def test_a_sandbox_that_does_not_run_is_an_error_and_no_wrong_answer(
    items: Mapping[str, list[Problem]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(*_: str) -> list[str]:
        return ["false"]

    monkeypatch.setattr("models.sandbox.sandbox.python_command", command)
    (problem, *_) = items["leg_counting"]
    with Judge(seconds=30) as judge, pytest.raises(JudgeError, match="the sandbox's server ended"):
        is_right(judge, f"<answer>{problem.answer}</answer>", problem)


def test_what_json_lacks_survives_it() -> None:
    value = {"a": (1, [2, (3.5, None)]), "b": {1: "x", "y": {"z": True}}, "c": "text"}
    assert decoded(json.loads(json.dumps(encoded(value)))) == value
    with pytest.raises(TypeError, match="set cannot be stored"):
        encoded({"a": {1}})
