import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from router.evaluation.audit import audit
from router.fitting.outcomes import OutcomeError, read_outcomes
from router.fitting.table import check, tabulate

GOOD = {
    "problem_id": "p1",
    "prompt": "What is 1 + 1?",
    "messages": None,
    "answer": "2",
    "model": "m",
    "effort": "low",
    "sample": 0,
    "correct": 1,
    "tokens": 12,
    "thinking_tokens": 5,
    "response": None,
    "truncated": False,
    "weights": "w",
}


def many(count: int = 40, **changes: object) -> list[Any]:
    return [
        {**GOOD, "problem_id": f"p{number}", "effort": effort, "correct": number % 2, **changes}
        for number in range(count)
        for effort in ("low", "high")
    ]


def write(path: Path, rows: list[Any]) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_text(text)
    return path


def test_rows_are_read_and_thinking_tokens_count(tmp_path: Path) -> None:
    dataset = read_outcomes([write(tmp_path / "o.jsonl", many())])
    assert len(dataset.outcomes) == 80
    assert {outcome.tokens for outcome in dataset.outcomes} == {5}
    assert (dataset.model, dataset.weights, dataset.warnings, dataset.skipped) == ("m", "w", (), 0)


def test_completion_tokens_replace_missing_thinking_tokens(tmp_path: Path) -> None:
    path = write(tmp_path / "o.jsonl", many(thinking_tokens=None))
    assert {outcome.tokens for outcome in read_outcomes([path]).outcomes} == {12}
    mixed = [*many(), {**GOOD, "problem_id": "p99", "thinking_tokens": None}]
    warnings = read_outcomes([write(path, mixed)]).warnings
    assert any("1 rows have no thinking_tokens, 80 do" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "not an object"),
        ({**GOOD, "problem_id": None}, "problem_id"),
        ({**GOOD, "effort": ""}, "effort"),
        ({**GOOD, "correct": 2}, "correct"),
        ({**GOOD, "correct": "yes"}, "correct"),
        ({**GOOD, "thinking_tokens": -1}, "thinking_tokens"),
        ({**GOOD, "thinking_tokens": 1.5}, "thinking_tokens"),
        ({**GOOD, "prompt": {"a": 1}}, "neither prompt nor messages"),
    ],
)
def test_a_broken_line_is_skipped_with_a_warning(tmp_path: Path, bad: object, reason: str) -> None:
    dataset = read_outcomes([write(tmp_path / "o.jsonl", [*many(), bad])])
    assert len(dataset.outcomes) == 80
    assert dataset.skipped == 1
    assert "o.jsonl:81" in dataset.warnings[0]
    assert reason in dataset.warnings[0]


def test_repeated_rows_and_rows_without_tokens_are_skipped(tmp_path: Path) -> None:
    rows = many()
    bare = {**GOOD, "problem_id": "p99", "tokens": None, "thinking_tokens": None}
    silent = {**GOOD, "problem_id": "p98", "prompt": None}
    dataset = read_outcomes([write(tmp_path / "o.jsonl", [*rows, rows[3], bare, silent])])
    assert dataset.skipped == 3
    assert "1 rows without a prompt skipped" in dataset.warnings
    assert any("o.jsonl:81: p1/high/0" in warning for warning in dataset.warnings)
    assert any("1 rows without tokens" in warning for warning in dataset.warnings)


def refused(paths: list[Path], model: str | None = None) -> str:
    with pytest.raises(OutcomeError) as caught:
        read_outcomes(paths, model)
    return str(caught.value)


def test_unusable_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    assert "cannot be opened" in refused([path])
    assert "no outcomes" in refused([write(path, [])])
    assert "broken" in refused([write(path, ["{"] * 3)])
    assert "broken" in refused([write(path, [*many(), *["{"] * 20])])
    assert "no row has tokens" in refused([write(path, many(tokens=None, thinking_tokens=None))])
    mixed = [*many(), *many(model="other")]
    assert "--model" in refused([write(path, mixed)])
    assert "no rows of model 'third'; there are: m; other" in refused([path], "third")
    assert read_outcomes([path], "other").model == "other"
    assert "different weights" in refused([write(path, [*many(20), *many(40, weights="v")])])


def test_a_truncated_gzip_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl.gz"
    rows = "".join(
        json.dumps({**row, "response": str(i) * 9}) + "\n" for i, row in enumerate(many(900))
    )
    compressed = gzip.compress(rows.encode())
    path.write_bytes(compressed)
    assert len(read_outcomes([path]).outcomes) == 1800
    path.write_bytes(compressed[: len(compressed) // 2])
    message = refused([path])
    assert "truncated or damaged" in message
    assert "o.jsonl.gz:" in message
    path.write_bytes(b"not gzip at all")
    assert "truncated or damaged" in refused([path])


def test_a_pair_of_files_is_read(tmp_path: Path) -> None:
    rows = ["problem_id,model,effort,sample,correct,tokens,tokens_estimated"]
    rows += [f"{n},m,{effort},1,1,{n},1" for n in range(9) for effort in ("direct", "cot")]
    rows += ["3,m,cot,2,1,,0", "404,m,cot,1,1,5,0"]
    path = write(tmp_path / "x.outcomes.csv", rows)
    assert "no row has a prompt" in refused([path])
    problems = [{"problem_id": n, "prompt": f"prompt {n}"} for n in range(9)]
    write(tmp_path / "x.problems.jsonl", problems)
    dataset = read_outcomes([path])
    assert len(dataset.outcomes) == 18
    assert dataset.outcomes[2].messages == "prompt 1"
    assert "1 rows without a prompt skipped" in dataset.warnings
    assert any("1 rows without tokens" in warning for warning in dataset.warnings)


def test_prompts_come_from_any_problems_file_that_is_named(tmp_path: Path) -> None:
    rows = ["problem_id,model,effort,correct,tokens"]
    rows += [f"{n},m,{effort},{n % 2},{n}" for n in range(40) for effort in ("low", "high")]
    outcomes = write(tmp_path / "x.csv", rows)
    prompts = [{"problem_id": n, "prompt": f"prompt {n}"} for n in range(40)]
    problems = write(tmp_path / "q.jsonl", prompts)
    dataset = read_outcomes([outcomes, problems])
    assert [outcome.messages for outcome in dataset.outcomes[::2]] == [
        f"prompt {n}" for n in range(40)
    ]
    alone = read_outcomes([outcomes], for_audit=True)
    assert len(alone.outcomes) == 80
    assert audit(alone, 0.01, 0.1)["recommended"] == "low"


@pytest.mark.parametrize(("right", "wrong"), [("True", "False"), ("true", " FALSE "), ("1", "0")])
def test_correct_is_read_as_pandas_writes_it(tmp_path: Path, right: str, wrong: str) -> None:
    rows = ["problem_id,prompt,model,effort,correct,tokens"]
    rows += [f"{n},Add {n}.,m,low,{right if n else wrong},{n}" for n in range(3)]
    dataset = read_outcomes([write(tmp_path / "x.csv", rows)])
    assert [outcome.correct for outcome in dataset.outcomes] == [0, 1, 1]


def test_a_csv_file_may_hold_its_prompts(tmp_path: Path) -> None:
    rows = ["problem_id,prompt,model,effort,correct,tokens"]
    rows += [f'{n},"Add {n}, and 1.",m,{effort},1,{n}' for n in range(9) for effort in ("a", "b")]
    dataset = read_outcomes([write(tmp_path / "x.csv", rows)])
    assert len(dataset.outcomes) == 18
    assert dataset.outcomes[2].messages == "Add 1, and 1."


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (many(10), "too few problems to fit a router: 10;"),
        (many(40, effort="low"), "of 40 problems these have low for 40"),
        (
            [
                {**GOOD, "problem_id": str(n), "effort": "low" if n < 15 else "high"}
                for n in range(45)
            ],
            "of 45 problems these have high for 30, low for 15",
        ),
        (many(40, correct=1), "every outcome is correct"),
        (many(40, correct=0), "every outcome is wrong"),
    ],
)
def test_outcomes_too_few_for_a_router_are_refused(
    tmp_path: Path, rows: list[Any], reason: str
) -> None:
    path = write(tmp_path / "o.jsonl", rows)
    with pytest.raises(OutcomeError, match=reason):
        check(read_outcomes([path]).outcomes)


def test_an_effort_with_few_problems_is_excluded_with_a_warning(tmp_path: Path) -> None:
    rows = [*many(40), *[{**GOOD, "problem_id": f"p{n}", "effort": "max"} for n in range(5)]]
    efforts, warnings = check(read_outcomes([write(tmp_path / "o.jsonl", rows)]).outcomes)
    assert efforts == ("low", "high")
    assert any("max covers 5 problems" in warning for warning in warnings)
    assert any("40 problems are few" in warning for warning in warnings)


def test_the_table_counts_cells(tmp_path: Path) -> None:
    rows = [*many(3), {**GOOD, "problem_id": "p0", "sample": 1, "correct": 1, "thinking_tokens": 7}]
    table = tabulate(read_outcomes([write(tmp_path / "o.jsonl", rows[1:])]).outcomes)
    assert table.efforts == ("low", "high")
    assert table.counts.tolist() == [[1, 1], [1, 1], [1, 1]]
    assert table.accuracy[0].tolist() == [1, 0]
    assert table.tokens[0].tolist() == [7, 5]
    assert table.complete.all()
