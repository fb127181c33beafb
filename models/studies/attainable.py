"""What a mix of traffic could save, in hindsight: python -m models.studies.attainable MIX...

A MIX is that of `models.studies.kinds`. Prints a table per mix: an effort by kind, an effort by
problem, and the estimates of a fit on the other half at a price that is chosen after looking.
"""

from collections.abc import Iterator
from itertools import product

import click
import numpy as np

from models.studies.kinds import Mix, markdown_row, read_mix
from router.arrays import Array, Index
from router.evaluation.replay import decide, judged_rows
from router.fitting.calibration import PRICES
from router.fitting.fit import FitSettings, fit
from router.fitting.table import Table, tabulate
from router.policy import Policy

_MAX_LOSS = 0.02
_BROKEN = 0.1
_MAX_POLICIES = 16
"""Of efforts by kind; a mix with more has its single kinds only."""


def hindsight(table: Table, baseline: int) -> Iterator[tuple[str, float, float]]:
    """A policy that knows the outcomes, its loss and the share of tokens that it saves."""
    rows = judged_rows(table)
    accuracy, tokens = table.accuracy[rows], table.tokens[rows]
    kinds = np.array([str(kind) for kind in table.kinds_of(rows)])
    names, cheaper = sorted(set(kinds)), range(baseline + 1)
    if len(cheaper) ** len(names) <= _MAX_POLICIES:
        for efforts in product(cheaper, repeat=len(names)):
            chosen = np.array(efforts)[np.searchsorted(names, kinds)]
            title = ", ".join(
                f"{table.efforts[effort]} for {name}"
                for name, effort in zip(names, efforts, strict=True)
            )
            yield title, *_outcome(accuracy, tokens, chosen, baseline)
    best = np.where(accuracy >= accuracy.max(axis=1, keepdims=True), tokens, np.inf)
    yield (
        "the best effort of each problem",
        *_outcome(accuracy, tokens, best.argmin(axis=1), baseline),
    )


def _outcome(accuracy: Array, tokens: Array, chosen: Index, baseline: int) -> tuple[float, float]:
    """Accuracy lost against the baseline, and the share of its tokens that is saved."""
    rows = np.arange(len(chosen))
    lost = accuracy[:, baseline] - accuracy[rows, chosen]
    return float(lost.mean()), 1 - float(tokens[rows, chosen].sum() / tokens[:, baseline].sum())


def priced(mix: Mix, splits: int, has_kinds: bool) -> Array:
    """Loss and share saved (S, P, 2) on the other half, at each of P prices, S times."""
    problems = np.array(mix.problems)
    figures = np.zeros((splits, len(PRICES), 2))
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(problems).tolist()
        half = len(order) // 2
        artifact = fit(
            mix.part(set(order[:half]), has_kinds), FitSettings(max_loss=_MAX_LOSS)
        ).artifact
        table = tabulate(mix.part(set(order[half:]), has_kinds).outcomes, artifact.efforts)
        rows, baseline = judged_rows(table), artifact.efforts.index(artifact.baseline)
        accuracy, tokens = table.accuracy[rows], table.tokens[rows]
        for price, chosen in enumerate(decide(artifact, table, rows, Policy()).at_prices):
            figures[seed, price] = _outcome(accuracy, tokens, chosen, baseline)
    return figures


def table_of(mix: Mix, splits: int) -> Iterator[str]:
    """The rows of one mix."""
    yield markdown_row(
        "known in hindsight", "accuracy lost, points", "tokens saved %", "above the promise"
    )
    yield markdown_row(*["---"] * 4)
    table = tabulate(mix.outcomes.outcomes)
    complete = table.accuracy[judged_rows(table)]
    for title, lost, saved in hindsight(table, int(complete.mean(axis=0).argmax())):
        yield markdown_row(title, f"{100 * lost:+.2f}", f"{100 * saved:.1f}", "")
    for has_kinds in (False, True):
        figures = priced(mix, splits, has_kinds)
        means, broken = figures.mean(axis=0), (figures[:, :, 0] > _MAX_LOSS).mean(axis=0)
        for limit, allowed in (
            ("in a tenth of the splits above the promise", broken <= _BROKEN),
            ("a mean loss of a point", means[:, 0] <= _MAX_LOSS / 2),
        ):
            best = int(np.where(allowed, means[:, 1], -np.inf).argmax())
            yield markdown_row(
                f"one price, kinds {'given' if has_kinds else 'not given'}: at most {limit}",
                f"{100 * means[best, 0]:+.2f}",
                f"{100 * means[best, 1]:.1f}",
                f"{broken[best]:.0%}",
            )


@click.command(help=__doc__)
@click.argument("texts", nargs=-1, required=True, metavar="MIX...")
@click.option("--splits", type=int, default=50, show_default=True, metavar="N")
def main(texts: tuple[str, ...], splits: int) -> None:
    """Print the table of each mix as soon as it is known."""
    for mix in map(read_mix, texts):
        print(mix.name, *table_of(mix, splits), sep="\n", flush=True)


if __name__ == "__main__":
    main(prog_name="python -m models.studies.attainable")
