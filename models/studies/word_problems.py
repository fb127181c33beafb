"""Word problems with solutions in three lengths: python -m models.studies.word_problems DATA OUT.

For the recipe `smollm2`. DATA has GSM8K's training problems with their written solutions and
equations, and SVAMP, whose answers alone are given: its equation is the only one of the numbers in
the problem that gives the answer. Writes `seed.jsonl` (solutions, as `models.training.seed_file`
reads them), `train.jsonl` and `evaluate.jsonl` (problems), all three disjoint.
"""

import gzip
import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import permutations
from pathlib import Path
from typing import Any

import click

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_GSM8K, _SVAMP = "gsm8k_train_solutions.jsonl.gz", "svamp.jsonl.gz"
_MAX_NUMBERS = 4
"""Of an SVAMP problem; with more, several equations give the answer."""


def equation(prompt: str, answer: str) -> str | None:
    """The only `a+b=c`, `a-b=c`, `a*b=c` or `a/b=c` of two numbers in the prompt, c the answer.

    None where there is no such equation, or more than one.
    """
    numbers = list(dict.fromkeys(_NUMBER.findall(prompt)))
    gold = Fraction(answer)
    equations: set[str] = set()
    for left, right in permutations(numbers[:_MAX_NUMBERS], 2):
        a, b = Fraction(left), Fraction(right)
        first = a >= b  # of a sum and a product, one order is enough
        results = {"+": a + b if first else None, "*": a * b if first else None, "-": a - b}
        results["/"] = a / b if b else None
        equations |= {
            f"{left}{sign}{right}={plain(gold)}"
            for sign, result in results.items()
            if result == gold
        }
    return equations.pop() if len(equations) == 1 else None


def plain(number: Fraction) -> str:
    """A number without a needless fraction: 145, 2.5."""
    return str(number.numerator) if number.denominator == 1 else f"{float(number):g}"


def solutions(opening: str, steps: str, equations: Sequence[str], answer: str) -> dict[str, str]:
    """The reasoning at each effort: the equations; the written steps; those, opened and checked.

    Args:
        opening: what the longest one repeats of the problem.
        steps: the written solution.
        equations: those in it.
        answer: the gold answer.
    """
    again = "\n".join(f"Check: {text}" for text in equations)
    return {
        "low": "\n".join(equations),
        "medium": steps,
        "high": f"{opening}\n{steps}\n{again}\nSo it is {answer}.",
    }


def _rows(problem: Mapping[str, Any], texts: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for effort, reasoning in texts.items():
        yield {
            "problem_id": problem["problem_id"],
            "prompt": problem["prompt"],
            "effort": effort,
            "reasoning": reasoning,
            "response": f"The answer is {problem['answer']}.",
            "answer": problem["answer"],
        }


def _gsm8k(problem: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    *_, question = _SENTENCE.split(problem["prompt"].strip())
    steps, equations = problem["solution"], problem["equations"]
    yield from _rows(problem, solutions(question, steps, equations, problem["answer"]))


def _svamp(problem: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    solving = equation(problem["prompt"], problem["answer"])
    if solving is None:
        return
    *statements, question = _SENTENCE.split(problem["prompt"].strip())
    texts = solutions(
        " ".join(statements), f"{question}\nThat is {solving}.", [solving], problem["answer"]
    )
    yield from _rows(problem, {effort: text.strip() for effort, text in texts.items()})


def read(file: Path) -> list[dict[str, Any]]:
    """The problems of a gzipped file of JSON Lines, their answers as plain numbers."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    for row in rows:
        row["answer"] = plain(Fraction(str(row["answer"]).replace(",", "")))
    return rows


def _write(file: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--evaluate", default=300, show_default=True, help="Problems of SVAMP held out.")
@click.option("--svamp", default=1000, show_default=True, help="Others of it in the seed at most.")
@click.option("--gsm8k", default=150, show_default=True, help="Problems of GSM8K for the seed.")
@click.option("--train", default=100, show_default=True, help="Of GSM8K among the problems.")
def main(data: Path, out: Path, evaluate: int, svamp: int, gsm8k: int, train: int) -> None:
    """Write the seed, the problems of training and those of evaluation to OUT."""
    rng = random.Random("word problems")
    svamp_rows, gsm8k_rows = read(data / _SVAMP), read(data / _GSM8K)
    rng.shuffle(svamp_rows)
    rng.shuffle(gsm8k_rows)
    # short ones first: a small model learns more from them in the same time
    shortest = sorted(gsm8k_rows, key=lambda row: len(row["equations"]) or 99)[: gsm8k + train]
    rng.shuffle(shortest)
    held_out, rest = svamp_rows[:evaluate], svamp_rows[evaluate:]
    solved = [[*_svamp(row)] for row in rest]
    taken = [rows for rows in solved if rows][:svamp]
    seed = [row for rows in taken for row in rows]
    seed += [row for problem in shortest[:gsm8k] for row in _gsm8k(problem)]
    in_seed = {row["problem_id"] for row in seed}
    out.mkdir(parents=True, exist_ok=True)
    problems = [row for row in (*rest, *shortest[gsm8k:]) if row["problem_id"] not in in_seed]
    fields = ("problem_id", "prompt", "answer")
    counts = {
        "seed.jsonl": _write(out / "seed.jsonl", seed),
        "train.jsonl": _write(out / "train.jsonl", ({k: r[k] for k in fields} for r in problems)),
        "evaluate.jsonl": _write(
            out / "evaluate.jsonl", ({k: r[k] for k in fields} for r in held_out)
        ),
    }
    for name, count in counts.items():
        click.echo(f"{out / name}: {count} rows")


if __name__ == "__main__":
    main(prog_name="python -m models.studies.word_problems")
