"""Problems of a recipe: real public sets, broken files, repeats and contamination."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from paths import DATA

from models.outcomes.check import Choices
from models.outcomes.problem_sets import Problem, ProblemError
from models.outcomes.verify import Judge
from models.training.problems import load, without_contamination
from models.training.recipe import Recipe
from models.training.recipe_data import Data, Source
from models.training.seed import problems_of

PROBLEMS = DATA / "problems"
needs_data = pytest.mark.skipif(
    not PROBLEMS.is_dir(), reason="the shared problem sets are not here"
)


def read(*sources: dict[str, Any], **data: Any) -> tuple[list[Problem], Counter[str]]:
    counts = Counter[str]()
    parsed = [Source.model_validate(source) for source in sources]
    return load(parsed, Data(**data), counts, Judge().unjudgeable), counts


def lines(file: Path, *rows: Any) -> str:
    file.write_text(
        "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    )
    return str(file)


def problem(number: int) -> dict[str, Any]:
    return {"problem_id": f"p{number}", "prompt": f"What is {number} + 1?", "answer": number + 1}


@needs_data
@pytest.mark.parametrize(
    ("name", "rows", "columns", "levels"),
    [
        ("gsm8k_train", 7_400, {}, range(1, 10)),
        ("math_4500", 4_400, {}, range(1, 6)),
        ("svamp", 600, {}, ()),
        ("aqua", 250, {"options": "options"}, ()),
    ],
)
def test_real_sets(name: str, rows: int, columns: dict[str, str], levels: range) -> None:
    source = {"path": PROBLEMS / f"{name}.jsonl.gz", "columns": columns}
    problems, counts = read(source, most_broken=0.05)
    assert len(problems) + counts["repeated"] + counts["unjudgeable"] + counts["broken"] >= rows
    assert len(problems) > 0.9 * rows
    assert {row.difficulty for row in problems} >= {float(level) for level in levels}
    if columns:
        assert all("\nB)" in row.prompt for row in problems)


PLANETS = ["Mars", "Venus", "Earth"]


@pytest.mark.parametrize(
    ("options", "answer", "gold"),
    [
        (PLANETS, "B", "B"),
        (PLANETS, "(b)", "B"),
        (PLANETS, 0, "A"),
        (PLANETS, "Earth", "C"),
        (["(A) Mars", "(B) Venus", "(C) Earth"], "C", "C"),
        ({"A": "Mars", "B": "Venus", "C": "Earth"}, "B", "B"),
        ({"text": PLANETS, "label": ["A", "B", "C"]}, "C", "C"),
        ({"text": PLANETS, "label": ["1", "2", "3"]}, "3", "C"),
        ([1, 2, 0], 2, "B"),
        (["B", "A"], "A", "A"),
    ],
)
def test_options_are_listed_by_the_letter_that_the_answer_is(
    tmp_path: Path, options: Any, answer: Any, gold: str
) -> None:
    row = {"prompt": "Which?", "options": options, "answer": answer}
    (problem,), _ = read(
        {"path": lines(tmp_path / "rows.jsonl", row), "columns": {"options": "options"}}
    )
    assert problem.answer == gold
    assert isinstance(problem.check, Choices)
    listed = problem.prompt.removeprefix("Which?\n\n").splitlines()
    assert [line.strip("(")[:2] for line in listed] == [f"{c})" for c in problem.check.texts]
    assert listed[0].endswith(problem.check.texts["A"])


@pytest.mark.parametrize("answer", ["D", "Moon", 3, -1, "0"])
def test_an_answer_that_is_none_of_the_options_is_broken(tmp_path: Path, answer: Any) -> None:
    row = {"prompt": "Which?", "options": PLANETS, "answer": answer}
    with pytest.raises(ProblemError, match="is none of the 3 options"):
        read({"path": lines(tmp_path / "rows.jsonl", row), "columns": {"options": "options"}})


@needs_data
def test_problems_of_evaluation_are_removed_from_training() -> None:
    train, _ = read({"path": PROBLEMS / "gsm8k_train.jsonl.gz", "limit": 2000})
    test, _ = read({"path": PROBLEMS / "gsm8k_test.jsonl.gz"})
    counts = Counter[str]()
    leaked = [Problem("leak", f"Listen!  {test[3].prompt.upper()}", "1")]
    clean = without_contamination([*train, *leaked], test, 13, counts)
    assert "leak" not in {row.problem_id for row in clean}
    assert 1 <= counts["contaminated"] < 20


def test_without_ngrams_only_whole_prompts_count() -> None:
    evaluation = [Problem("e", "One two three.", "1")]
    train = [Problem("a", "one  two, three", "1"), Problem("b", "One two three four.", "1")]
    assert [row.problem_id for row in without_contamination(train, evaluation, 0, Counter())] == [
        "b"
    ]
    assert without_contamination(train, evaluation, 3, Counter()) == []


def test_the_public_mappings_read_their_publishers_rows(tmp_path: Path) -> None:
    gsm8k = lines(
        tmp_path / "g.jsonl", {"question": "2 + 3?", "answer": "2 + 3 = <<2+3=5>>5\n#### 5"}
    )
    math = lines(
        tmp_path / "m.jsonl",
        {"problem": "Half?", "answer": "\\frac{1}{2}", "unique_id": "u", "level": "Level 4"},
    )
    aime = lines(tmp_path / "a.jsonl", {"id": 60, "problem": "How many?", "answer": "204"})
    numina = lines(tmp_path / "n.jsonl", {"problem": "Which?", "answer": "B"})
    problems, _ = read(
        {"public": "gsm8k", "path": gsm8k},
        {"public": "math", "path": math},
        {"public": "aime", "path": aime},
        {"public": "numinamath", "path": numina},
    )
    assert [(row.answer, row.difficulty) for row in problems] == [
        ("5", None),
        ("\\frac{1}{2}", 4.0),
        ("204", None),
        ("B", None),
    ]
    assert problems[0].prompt.startswith("2 + 3?\n\nGive")
    assert (problems[1].problem_id, problems[2].problem_id) == ("u", "60")
    assert len({row.problem_id for row in problems}) == 4


def test_broken_lines_are_left_out_and_counted_and_fatal_past_a_share(tmp_path: Path) -> None:
    rows = [problem(number) for number in range(20)]
    file = lines(tmp_path / "p.jsonl", *rows, '{"half', {"prompt": "no answer"}, "[1]")
    problems, counts = read({"path": file}, most_broken=0.2)
    assert (len(problems), counts["broken"]) == (20, 3)
    with pytest.raises(
        ProblemError, match=r"3 of 23 rows are broken[^$]*line 21: it is not a JSON"
    ):
        read({"path": file}, most_broken=0.1)


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    file = lines(tmp_path / "p.jsonl", {"question": "?", "answer": "1"})
    with pytest.raises(ProblemError, match="no column prompt; it has question, answer"):
        read({"path": file})


def test_repeats_are_dropped_and_doubled_ids_refused(tmp_path: Path) -> None:
    rows = [problem(1), {**problem(1), "prompt": "what is 1 +  1"}, problem(2)]
    problems, counts = read({"path": lines(tmp_path / "p.jsonl", *rows)})
    assert (len(problems), counts["repeated"]) == (2, 1)
    rows = [problem(1), {**problem(2), "problem_id": "p1"}]
    with pytest.raises(ProblemError, match="have the id p1"):
        read({"path": lines(tmp_path / "q.jsonl", *rows)})


def test_answers_that_cannot_be_judged_are_counted(tmp_path: Path) -> None:
    file = lines(tmp_path / "p.jsonl", problem(1), {**problem(2), "answer": " "})
    problems, counts = read({"path": file}, most_broken=0.5)
    assert (len(problems), counts["broken"] + counts["unjudgeable"]) == (1, 1)


def test_rows_without_an_answer_are_not_broken(tmp_path: Path) -> None:
    without = [{**problem(number), "answer": answer} for number, answer in enumerate(("", "Proof"))]
    file = lines(tmp_path / "p.jsonl", problem(7), *without)
    problems, counts = read({"path": file, "no_answers": ["", "proof"]}, most_broken=0)
    assert (len(problems), counts["without_answer"]) == (1, 2)


def test_files_may_be_gzipped_and_limited(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl.gz"
    file.write_bytes(
        gzip.compress("\n".join(json.dumps(problem(number)) for number in range(9)).encode())
    )
    drawn = [[row.problem_id for row in read({"path": file, "limit": 4})[0]] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len({*drawn[0]}) == 4
    assert drawn[0] != ["p0", "p1", "p2", "p3"]
    with pytest.raises(ProblemError, match="cannot be read"):
        read({"path": tmp_path / "none.jsonl"})


@pytest.mark.slow
def test_a_hugging_face_data_set_is_read_by_its_columns(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="needs the extra [train]")
    lines(tmp_path / "train.jsonl", {"q": "2 + 3?", "a": "so \\boxed{5}", "hard": 2})
    columns = {"prompt": "q", "answer": "a", "problem_id": None, "difficulty": "hard"}
    (problem,), _ = read({"dataset": str(tmp_path), "columns": columns, "answer_in": "boxed"})
    assert (problem.prompt, problem.answer, problem.difficulty) == ("2 + 3?", "5", 2.0)
    with pytest.raises(ProblemError, match="no column prompt; it has q, a, hard"):
        read({"dataset": str(tmp_path)})
    with pytest.raises(ProblemError, match="cannot be loaded"):
        read({"dataset": str(tmp_path), "split": "nope"})


def test_stories_are_problems_with_their_steps() -> None:
    problems, _ = read({"stories": {"n": 30, "steps": [2, 4]}})
    assert {row.difficulty for row in problems} == {2, 3, 4}


def test_training_problems_of_which_none_is_left_are_refused(tmp_path: Path) -> None:
    file = lines(tmp_path / "rows.jsonl", problem(1))
    sources = {name: [{"path": file}] for name in ("train", "evaluate")}
    table = {"name": "r", "model": {"base": "x"}, "seed": {"source": "stories"}, "data": sources}
    with pytest.raises(ProblemError, match=r"no problem of data\.train is left.*'contaminated': 1"):
        problems_of(Recipe.model_validate(table), Counter())


def test_problems_of_a_seed_s_file_are_no_training_problems(tmp_path: Path) -> None:
    solved = {"prompt": "WHAT is 2 + 1", "effort": "low", "reasoning": "3", "response": "3"}
    seed = {"source": "file", "path": lines(tmp_path / "seed.jsonl", solved, "no JSON")}
    train = [{"path": lines(tmp_path / "rows.jsonl", problem(1), problem(2))}]
    table = {"name": "r", "model": {"base": "x"}, "seed": seed, "data": {"train": train}}
    counts = Counter[str]()
    (kept,) = problems_of(Recipe.model_validate(table), counts)
    assert (kept.problem_id, counts["in_the_seed"]) == ("p1", 1)
