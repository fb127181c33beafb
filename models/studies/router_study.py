"""Evaluates the router on logged outcomes: python -m models.studies.router_study LOG... --out FILE.

A LOG is a file that `tops fit` reads; every model in it with two or more efforts and known tokens
is evaluated. All results are cross-fitted by problem: no router decides on a problem that it was
fitted on. Needs scikit-learn (extra `study`) for the learners that the router is compared with.
"""

import csv
import gzip
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from models.studies.learners import LEARNERS, cross_fit, cross_fit_tokens, judge
from router.arrays import Index
from router.artifact import load, save
from router.conversation import routed_text
from router.evaluation.replay import Decisions, best_fixed, decide, judged_rows, replay, report
from router.features import window
from router.fitting.cross_fit import fold_of
from router.fitting.fit import FitSettings, fit
from router.fitting.outcomes import OutcomeError, OutcomeSet, read_outcomes
from router.fitting.prompts import merged
from router.fitting.table import RECOMMENDED_PROBLEMS, check, tabulate
from router.messages import read_messages
from router.policy import Policy
from router.router import Router

_FOLDS = 5
_SPLITS = 50
_MAX_LOSS = 0.02
"""The `max_loss` of the repeated splits; half a log is too small to certify the default 0.01."""


@dataclass(frozen=True)
class Log:
    """The outcomes of one model in the log `name`."""

    name: str
    reading: OutcomeSet

    @property
    def title(self) -> str:
        """The log and the model, as tables show them."""
        model = self.reading.model.rpartition("/")[2]
        return self.name if model == self.name else f"{self.name}: {model}"


def read_logs(paths: Sequence[Path]) -> Iterator[Log]:
    """Every model of every file with outcomes at two or more efforts; others are skipped."""
    for path in paths:
        name = path.name.partition(".")[0]
        for model in _models(path):
            try:
                reading = read_outcomes([path], model)
                check(reading.outcomes)
            except OutcomeError:
                continue
            yield Log(name, reading)


def _models(path: Path) -> list[str | None]:
    if ".csv" not in path.name:
        return [None]
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as stream:
        return list(Counter(row["model"] for row in csv.DictReader(stream)))


def cross_fitted(log: Log, policy: Policy) -> dict[str, Any]:
    """A replay in which a router fitted on four fifths of the problems decides on the fifth."""
    efforts, _ = check(log.reading.outcomes)
    outcomes = [o for o in log.reading.outcomes if o.effort in efforts]
    table = tabulate(outcomes, efforts)
    problem_ids = dict.fromkeys(outcome.problem_id for outcome in outcomes)
    rows = judged_rows(table)
    folds = fold_of(table.cluster, 1)
    parts: list[tuple[Index, Decisions]] = []
    on_fit: list[Index] = []
    for fold in range(_FOLDS):
        fitted = {
            problem
            for problem, problem_fold in zip(problem_ids, folds, strict=True)
            if problem_fold != fold
        }
        artifact = fit(_only(log.reading, fitted)).artifact
        if artifact.efforts != efforts:
            raise OutcomeError(f"a fold of {log.title} lacks an effort")
        test = rows[folds[rows] == fold]
        if len(test):
            parts.append((test, decide(artifact, table, test, policy)))
            on_fit.append(np.full(len(test), efforts.index(best_fixed(artifact))))
    order = np.concatenate([test for test, _ in parts])
    decided = Decisions(
        np.concatenate([part.p for _, part in parts]),
        np.concatenate([part.budget for _, part in parts]),
        np.concatenate([part.chosen for _, part in parts]),
        np.concatenate([part.bounded for _, part in parts]),
        np.concatenate([part.at_prices for _, part in parts], axis=1),
        np.concatenate([part.trusted for _, part in parts]),
    )
    return {**report(table, order, decided, np.concatenate(on_fit)), "problems": len(rows)}


def _only(reading: OutcomeSet, problems: set[str]) -> OutcomeSet:
    outcomes = tuple(row for row in reading.outcomes if row.problem_id in problems)
    return replace(reading, outcomes=outcomes)


def policy_table(logs: Sequence[Log]) -> Iterator[str]:
    """The policy against baselines without a router, on every log."""
    yield _row(
        "log", "problems", "policy: accuracy %, tokens", "best fixed effort", "minus it",
        "minus random mixture", "minus neighbours", "gap closed", "area gained",
    )  # fmt: skip
    yield _row(*["---"] * 9)
    for log in logs:
        result = cross_fitted(log, Policy())
        baselines: Mapping[str, Any] = result["baselines"]
        name, best = _best_fixed(baselines)
        closed = result["oracle_gap_closed"]
        yield _row(
            log.title,
            result["problems"],
            f"{100 * result['policy']['accuracy']:.1f}, {result['policy']['tokens']:.0f}",
            f"{name}: {100 * best['accuracy']:.1f}, {best['tokens']:.0f}",
            f"{_points(best, 'policy_accuracy_minus')}, {_share(result['policy'], best)}",
            _points(baselines["random"], "policy_accuracy_minus"),
            _points(baselines["knn"], "policy_accuracy_minus"),
            "-" if closed is None else f"{closed:.2f} {_ends(result['oracle_gap_closed_ci'], 1)}",
            _points(result["area"], "gain"),
        )


def _best_fixed(baselines: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The cheapest fixed effort within half a point of the most accurate one."""
    fixed = {name: entry for name, entry in baselines.items() if name.startswith("fixed:")}
    best = max(entry["accuracy"] for entry in fixed.values())
    accurate = {name: entry for name, entry in fixed.items() if entry["accuracy"] >= best - 0.005}
    name = min(accurate, key=lambda name: accurate[name]["tokens"])
    return name.removeprefix("fixed:"), accurate[name]


def learner_table(logs: Sequence[Log]) -> Iterator[str]:
    """Log loss, AUC and area gained of every learner on every log with enough problems."""
    large = [log for log in logs if _problems(log) >= RECOMMENDED_PROBLEMS]
    yield _row("learner", *(log.title for log in large))
    yield _row(*["---"] * (1 + len(large)))
    cells: dict[str, list[str]] = {name: [] for name in LEARNERS}
    for log in large:
        efforts, _ = check(log.reading.outcomes)
        outcomes = [o for o in log.reading.outcomes if o.effort in efforts]
        table = tabulate(outcomes, efforts)
        messages: dict[str, object] = {}
        for outcome in outcomes:
            messages.setdefault(outcome.problem_id, outcome.messages)
        texts = [window(routed_text(read_messages(prompt))) for prompt in messages.values()]
        tokens = cross_fit_tokens(table)
        for name, learner in LEARNERS.items():
            loss, auc, gain = judge(table, cross_fit(learner, table, texts), tokens)
            cells[name].append(f"{loss:.4f}, {auc:.3f}, {gain:+.2f}")
    for name, row in cells.items():
        yield _row(name, *row)


def split_table(logs: Sequence[Log]) -> Iterator[str]:
    """Fitted on a random half of the distinct prompts, evaluated on the others, `_SPLITS` times.

    Shares of the splits in %, means over them; tokens and accuracy against the baseline effort.
    """
    yield _row(
        "log", "splits", "loss above the promise %", "leaves the baseline %", "tokens saved %",
        "accuracy lost, points", "lost against the most accurate effort, points",
    )  # fmt: skip
    yield _row(*["---"] * 7)
    for log in logs:
        outcomes, _ = merged(log.reading.outcomes)
        problems = sorted({outcome.problem_id for outcome in outcomes})
        if len(problems) < 2 * RECOMMENDED_PROBLEMS:
            continue
        reading = replace(log.reading, outcomes=tuple(outcomes))
        splits = np.array([_split(reading, problems, seed) for seed in range(_SPLITS)])
        lost, most, saved, leaves = splits.mean(axis=0).tolist()
        yield _row(
            log.title, _SPLITS, f"{100 * (splits[:, 0] > _MAX_LOSS).mean():.0f}",
            f"{100 * leaves:.0f}", f"{100 * saved:.1f}", f"{100 * lost:+.2f}", f"{100 * most:+.2f}",
        )  # fmt: skip


def _split(
    reading: OutcomeSet, problems: Sequence[str], seed: int
) -> tuple[float, float, float, bool]:
    """Accuracy lost against the baseline and the most accurate effort, tokens saved; leaves it."""
    half = {*np.random.default_rng(seed).permutation(problems)[::2].tolist()}
    artifact = fit(_only(reading, half), FitSettings(max_loss=_MAX_LOSS)).artifact
    policy = Policy(max_loss=_MAX_LOSS)
    result: Any = replay(artifact, _only(reading, set(problems) - half), policy)
    routed, baselines = result["policy"], result["baselines"]
    baseline = baselines[f"fixed:{artifact.baseline}"]
    most = max(baselines[f"fixed:{effort}"]["accuracy"] for effort in artifact.efforts)
    return (
        baseline["accuracy"] - routed["accuracy"],
        most - routed["accuracy"],
        1 - routed["tokens"] / baseline["tokens"],
        artifact.prices.point_for(policy).leaves_baseline,
    )


def speed_table(log: Log) -> Iterator[str]:
    """Routing times against tf-idf with logistic regression, measured alternately."""
    artifact = fit(log.reading).artifact
    router = Router(artifact.efforts, artifact.baseline, artifact)
    by_problem = {row.problem_id: row for row in log.reading.outcomes}
    texts = [str(outcome.messages) for outcome in by_problem.values()]
    labels = [outcome.correct for outcome in by_problem.values()]
    reference = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), min_df=2), LogisticRegression())
    reference.fit(texts, labels)
    yield _row("prompt", "route(), us", "tf-idf + logistic, one effort, us", "ratio")
    yield _row(*["---"] * 4)
    for name, characters in (("500 tokens", 2_000), ("32k tokens", 128_000)):
        text = _prose(texts, characters)
        messages = [{"role": "user", "content": text}]
        route_us, reference_us = _alternately(
            partial(router.route, messages), partial(reference.predict_proba, [text])
        )
        ratio = f"{route_us / reference_us:.2f}"
        yield _row(name, f"{route_us:.0f}", f"{reference_us:.0f}", ratio)
    path = Path("router.json.speed")
    save(artifact, path)
    try:
        load_us, _ = _alternately(partial(load, path), lambda: None, repeats=20)
    finally:
        path.unlink()
    yield ""
    words = artifact.parameters.word_weights.shape[0]
    yield f"Loading that artifact ({words} words): {load_us / 1000:.1f} ms."


def _prose(texts: Sequence[str], characters: int) -> str:
    joined = " ".join(texts)
    return (joined * (characters // len(joined) + 1))[:characters]


def _alternately(
    call: Callable[[], object], reference: Callable[[], object], repeats: int = 300
) -> tuple[float, float]:
    """Median CPU microseconds of two functions that are called in turn."""
    durations: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for function, seconds in zip((call, reference), durations, strict=True):
            start = time.process_time()
            function()
            seconds.append(time.process_time() - start)
    return 1e6 * median(durations[0]), 1e6 * median(durations[1])


def _problems(log: Log) -> int:
    return len({outcome.problem_id for outcome in log.reading.outcomes})


def _characters(log: Log) -> int:
    """Characters of all prompts, by which the log with the largest vocabulary is selected."""
    return sum(map(len, {o.problem_id: str(o.messages) for o in log.reading.outcomes}.values()))


def _points(entry: Mapping[str, Any], name: str) -> str:
    return f"{100 * entry[name]:+.1f} {_ends(entry[f'{name}_ci'], 100)}"


def _ends(interval: Sequence[float], scale: float) -> str:
    return "[" + ", ".join(f"{scale * end:.{1 if scale > 1 else 2}f}" for end in interval) + "]"


def _share(policy: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    return f"{100 * (policy['tokens'] / max(baseline['tokens'], 1e-9) - 1):+.0f} % tokens"


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


@click.command(help=__doc__)
@click.argument("files", nargs=-1, required=True, metavar="LOG...", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("router/RESULTS.md"),
    show_default=True, metavar="FILE", help="Markdown file whose marked sections are filled.",
)  # fmt: skip
@click.option(
    "--section", "chosen", multiple=True, metavar="NAME", help="Only this section; repeatable."
)
def main(files: tuple[Path, ...], out: Path, chosen: tuple[str, ...]) -> None:
    """Replace the sections of a Markdown file between their markers; the text around them stays."""
    logs = list(read_logs(files))
    sections = {
        "policy": policy_table(logs),
        "learners": learner_table(logs),
        "splits": split_table(logs),
        "speed": speed_table(max(logs, key=_characters)),
    }
    sections = {name: sections[name] for name in chosen or sections}
    text = out.read_text(encoding="utf-8")
    for name, lines in sections.items():
        before, begin, section = text.partition(f"<!-- {name} -->\n")
        _, end, after = section.partition(f"<!-- end {name} -->")
        body = "".join(f"{line}\n" for line in lines)
        print(f"{name}\n{body}", flush=True)
        text = f"{before}{begin}{body}{end}{after}"
        out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(prog_name="python -m models.studies.router_study")
