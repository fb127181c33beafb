"""What kinds of traffic are worth: python -m models.studies.kinds MIX...; prints a table.

A MIX is MODEL=LOG,LOG...: outcomes of one model in one or several files NAME.outcomes.csv.gz. Of
several files, the kind of a prompt is its file; of one, it is the `subject` in its problems file.
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from router.artifact import Artifact
from router.evaluation.comparison import Means, accuracy_at
from router.evaluation.replay import decide, judged_rows, replay
from router.fitting.calibration import PRICES
from router.fitting.extension import tie_price
from router.fitting.fit import FitSettings, fit
from router.fitting.outcomes import Outcome, OutcomeSet, read_outcomes
from router.fitting.table import check, tabulate
from router.policy import Policy

_MAX_LOSS = 0.02
_SETTINGS = FitSettings(max_loss=_MAX_LOSS)
_POLICY = Policy(max_loss=_MAX_LOSS)


@dataclass(frozen=True)
class Mix:
    """Outcomes of one model with kinds."""

    name: str
    outcomes: OutcomeSet

    @property
    def problems(self) -> list[str]:
        """The problem_ids in sorted order."""
        return sorted({outcome.problem_id for outcome in self.outcomes.outcomes})

    def part(self, problems: set[str], has_kinds: bool = True) -> OutcomeSet:
        """The outcomes of some problems, with or without their kinds."""
        rows = [row for row in self.outcomes.outcomes if row.problem_id in problems]
        if not has_kinds:
            rows = [replace(row, kind=None) for row in rows]
        return replace(self.outcomes, outcomes=tuple(rows))


def read_mix(text: str) -> Mix:
    """The mix of MODEL=LOG,LOG..."""
    model, _, names = text.partition("=")
    paths = [Path(name) for name in names.split(",")]
    rows: list[Outcome] = []
    readings = [read_outcomes([path], model) for path in paths]
    for path, reading in zip(paths, readings, strict=True):
        stem = path.name.partition(".")[0]
        subjects = _subjects(path) if len(paths) == 1 else {}
        rows += [
            replace(
                outcome,
                problem_id=f"{stem}/{outcome.problem_id}",
                kind=subjects.get(outcome.problem_id, stem),
            )
            for outcome in reading.outcomes
        ]
    stems = " + ".join(path.name.partition(".")[0] for path in paths)
    outcomes = replace(readings[0], outcomes=tuple(rows))
    efforts, _ = check(outcomes.outcomes)
    covered = tuple(row for row in outcomes.outcomes if row.effort in efforts)
    return Mix(f"{stems}: {model.rpartition('/')[2]}", replace(outcomes, outcomes=covered))


def _subjects(path: Path) -> dict[str, str]:
    problems = path.with_name(path.name.replace(".outcomes.csv", ".problems.jsonl"))
    with gzip.open(problems, "rt") as stream:
        return {str(row["problem_id"]): row["subject"] for row in map(json.loads, stream)}


def halves_table(mixes: Sequence[Mix], size: int | None, splits: int) -> Iterator[str]:
    """Fitted on a half of the problems, or on `size`, and judged on the others."""
    yield markdown_row(
        "mix", "kinds", "fit / judged", "kind given", "certified", "broken", "tokens saved %",
        "accuracy lost, points", "accuracy at equal tokens, points",
    )  # fmt: skip
    yield markdown_row(*["---"] * 9)
    for mix in mixes:
        problems = np.array(mix.problems)
        chosen = min(size or len(problems) // 2, len(problems) // 2)
        figures: dict[bool, list[tuple[float, ...]]] = {False: [], True: []}
        gains: list[float] = []
        for seed in range(splits):
            order = np.random.default_rng(seed).permutation(problems).tolist()
            fitted, judged = set(order[:chosen]), set(order[chosen:])
            frontiers: list[Means] = []
            for has_kinds in (False, True):
                artifact = fit(mix.part(fitted, has_kinds), _SETTINGS).artifact
                figures[has_kinds].append(_judged(artifact, mix.part(judged, has_kinds)))
                frontiers.append(_frontier(artifact, mix.part(judged, has_kinds)))
            tokens = _tie_tokens(mix.part(judged), frontiers[0])
            gains.append(accuracy_at(frontiers[1], tokens) - accuracy_at(frontiers[0], tokens))
        for has_kinds, rows in figures.items():
            certified, broken, saved, lost = np.mean(rows, axis=0).tolist()
            gain = f"{100 * np.mean(gains):+.2f} (se {100 * np.std(gains):.2f})"
            yield markdown_row(
                mix.name, len({row.kind for row in mix.outcomes.outcomes}),
                f"{chosen} / {len(problems) - chosen}", "yes" if has_kinds else "no",
                f"{certified:.0%}", f"{broken:.0%}", f"{100 * saved:.1f}", f"{100 * lost:+.2f}",
                gain if has_kinds else "",
            )  # fmt: skip


def _judged(artifact: Artifact, outcomes: OutcomeSet) -> tuple[float, float, float, float]:
    """Whether it is certified and broken, the share of tokens saved, and the accuracy lost."""
    result: Any = replay(artifact, outcomes, _POLICY)
    policy, baseline = result["policy"], result["baselines"][f"fixed:{artifact.baseline}"]
    lost = baseline["accuracy"] - policy["accuracy"]
    certified = artifact.prices.point_for(_POLICY).leaves_baseline
    return certified, lost > _MAX_LOSS, 1 - policy["tokens"] / baseline["tokens"], lost


def _frontier(artifact: Artifact, outcomes: OutcomeSet) -> Means:
    """Mean accuracy and tokens at each price, on judged problems."""
    table = tabulate(outcomes.outcomes, artifact.efforts)
    rows = judged_rows(table)
    chosen = decide(artifact, table, rows, _POLICY).at_prices
    accuracy, tokens = table.accuracy[rows], table.tokens[rows]
    each = np.arange(len(rows))
    return Means(
        np.array([accuracy[each, choice].mean() for choice in chosen]),
        np.array([tokens[each, choice].mean() for choice in chosen]),
    )


def _tie_tokens(outcomes: OutcomeSet, frontier: Means) -> float:
    """The tokens that a router spends at the price at which the best fixed efforts tie."""
    price = tie_price(tabulate(outcomes.outcomes))
    return float(frontier.tokens[np.searchsorted(PRICES, price).clip(0, len(PRICES) - 1)])


def unknown_table(mixes: Sequence[Mix], size: int | None, splits: int) -> Iterator[str]:
    """Fitted on half of the kinds, at most `size` problems, and judged on the other kinds."""
    yield markdown_row("mix", "kinds", "splits above the promise", "tokens saved %", "lost, points")
    yield markdown_row(*["---"] * 5)
    for mix in mixes:
        kind_of = {row.problem_id: str(row.kind) for row in mix.outcomes.outcomes}
        kinds = np.array(sorted(set(kind_of.values())))
        rows: defaultdict[str, list[tuple[float, ...]]] = defaultdict(list)
        for seed in range(splits):
            rng = np.random.default_rng(seed)
            fitted_kinds = set(rng.permutation(kinds)[::2].tolist())
            order = rng.permutation(np.array(mix.problems)).tolist()
            fitted = {problem for problem in order if kind_of[problem] in fitted_kinds}
            judged = mix.part(set(order) - fitted)
            fitted = set([problem for problem in order if problem in fitted][:size])
            for name, artifact in _fits(mix, fitted):
                rows[name].append(_judged(artifact, judged))
        for name, figures in rows.items():
            _, broken, saved, lost = np.mean(figures, axis=0).tolist()
            yield markdown_row(
                mix.name, name, f"{broken * splits:.0f} of {splits}",
                f"{100 * saved:.1f}", f"{100 * lost:+.2f}",
            )  # fmt: skip


def _fits(mix: Mix, problems: set[str]) -> Iterator[tuple[str, Artifact]]:
    """Routers without kinds, and with kinds with and without the guard of unknown ones."""
    yield "not given", fit(mix.part(problems, has_kinds=False), _SETTINGS).artifact
    artifact = fit(mix.part(problems), _SETTINGS).artifact
    offsets = replace(artifact.parameters.kinds, guard=0.0)
    yield (
        "given, without guard",
        replace(artifact, parameters=replace(artifact.parameters, kinds=offsets)),
    )
    yield "given, with guard", artifact


def markdown_row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


@click.command(help=__doc__)
@click.argument("texts", nargs=-1, required=True, metavar="MIX...")
@click.option("--size", type=int, metavar="N", help="Problems of a fit; default: half of them.")
@click.option("--splits", type=int, default=20, show_default=True, metavar="N")
@click.option("--unknown", is_flag=True, help="Leave half of the kinds out.")
def main(texts: tuple[str, ...], size: int | None, splits: int, unknown: bool) -> None:
    """Print the table of the mixes, a line at a time."""
    mixes = [read_mix(text) for text in texts]
    for line in (
        unknown_table(mixes, size, splits) if unknown else halves_table(mixes, size, splits)
    ):
        print(line, flush=True)


if __name__ == "__main__":
    main(prog_name="python -m models.studies.kinds")
