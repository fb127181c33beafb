"""Solutions in three lengths for word problems, of which some have an answer only."""

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from models.studies.word_problems import equation, main, solutions


@pytest.mark.parametrize(
    ("prompt", "answer", "expected"),
    [
        ("87 oranges and 290 bananas, 2 groups of bananas and 93 of oranges.", "145", "290/2=145"),
        ("Dave had 7 tickets, and still has 2.", "5", "7-2=5"),
        ("20 families flew away, 14 stayed.", "34", "20+14=34"),
        ("3 boxes of 2.5 pounds.", "7.5", "3*2.5=7.5"),
        ("2 and 2 more.", "4", None),  # one number only
        ("4 rows of 2, and 2 more.", "2", None),  # 4-2 as well
        ("6 and 3, or 3 and 2, of 1.", "3", None),  # 6-3, 6/... and 3*1
        ("5 of 8.", "77", None),
    ],
)
def test_the_only_equation_is_found(prompt: str, answer: str, expected: str | None) -> None:
    assert equation(prompt, answer) == expected


def test_each_solution_is_longer_than_the_one_before() -> None:
    found = solutions("How many now?", "She has 7-2 = 5.", ["7-2=5"], "5")
    assert list(found) == ["low", "medium", "high"]
    assert found["low"] == "7-2=5"
    assert found["high"] == "How many now?\nShe has 7-2 = 5.\nCheck: 7-2=5\nSo it is 5."


def test_seed_problems_and_evaluation_are_disjoint(tmp_path: Path) -> None:
    svamp = [
        {"problem_id": f"s{n}", "prompt": f"{n} birds and {n + 40} cats. How many?",
         "answer": f"{2 * n + 40}.0"}
        for n in range(41, 61)
    ]  # fmt: skip
    gsm8k = [
        {"problem_id": f"g{n}", "prompt": f"{n} and 1? How many?", "answer": str(n + 1),
         "solution": f"{n}+1 = {n + 1}", "equations": [f"{n}+1={n + 1}"]}
        for n in range(9)
    ]  # fmt: skip
    for name, rows in (("svamp", svamp), ("gsm8k_train_solutions", gsm8k)):
        with gzip.open(tmp_path / f"{name}.jsonl.gz", "wt") as stream:
            stream.writelines(f"{json.dumps(row)}\n" for row in rows)
    flags = ["--evaluate", "5", "--svamp", "10", "--gsm8k", "4", "--train", "3"]
    result = CliRunner().invoke(main, [str(tmp_path), str(tmp_path / "out"), *flags])
    assert result.exit_code == 0, result.output
    ids = {
        name: {json.loads(line)["problem_id"] for line in file.read_text().splitlines()}
        for name in ("seed", "train", "evaluate")
        for file in [tmp_path / "out" / f"{name}.jsonl"]
    }
    assert [len(ids[name]) for name in ("seed", "train", "evaluate")] == [14, 8, 5]
    assert not ids["seed"] & ids["train"]
    assert not (ids["seed"] | ids["train"]) & ids["evaluate"]
