"""Composite efforts as columns of the outcome table, made from the generations that are there.

A generation at the initial effort that reaches the composite's budget is replaced by the mean of
the problem's generations at the final effort: every pair of independent generations, both paid.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from router.arrays import Array, Index
from router.composite import Composite, Kind
from router.fitting.table import Table

QUANTILES = (0.5, 0.75, 0.9)
"""Of the tokens of the initial effort's generations: the budgets that are tried."""

_MIN_Z = 1.0
_TINY = 1e-12


@dataclass(frozen=True)
class _Generations:
    """R generations of a composite: problem, correct (a share), tokens, each (R,)."""

    problem: Index
    correct: Array
    tokens: Array

    def sums(self, problems: int, values: Array | None = None) -> Array:
        """Sums (N,) of `values` (R,) per problem; None counts."""
        return np.bincount(self.problem, values, problems).astype(np.float64)


def candidates(table: Table) -> tuple[Composite, ...]:
    """The composites of every two efforts of `table` at each of QUANTILES."""
    composites: dict[str, Composite] = {}
    for cheap, dear in combinations(range(len(table.efforts)), 2):
        for kind, initial, final in _orders(cheap, dear):
            tokens = table.row_tokens[table.row_effort == initial]
            for budget in np.quantile(tokens, QUANTILES):
                if budget >= 1:
                    names = table.efforts[initial], table.efforts[final]
                    composite = Composite(kind, names[0], int(budget), names[1])
                    composites[composite.name] = composite
    return tuple(composites.values())


def _orders(cheap: int, dear: int) -> tuple[tuple[Kind, int, int], tuple[Kind, int, int]]:
    return ("stop", cheap, dear), ("cap", dear, cheap)


def extended(table: Table, composites: Sequence[Composite]) -> Table:
    """The table with a column per composite behind those of the efforts."""
    if not composites:
        return table
    width, size = len(table.efforts), table.size
    parts = [_generations(table, composite) for composite in composites]
    counts = np.stack([part.sums(size) for part in parts], axis=1)
    tokens = np.stack([part.sums(size, part.tokens) for part in parts], axis=1)
    successes = np.stack([part.sums(size, part.correct) for part in parts], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = tokens / counts
    columns = [np.full(len(part.problem), width + index) for index, part in enumerate(parts)]
    return replace(
        table,
        efforts=(*table.efforts, *(composite.name for composite in composites)),
        counts=np.hstack([table.counts, counts]),
        successes=np.hstack([table.successes, successes]),
        tokens=np.hstack([table.tokens, means]),
        row_problem=np.concatenate([table.row_problem, *(part.problem for part in parts)]),
        row_effort=np.concatenate([table.row_effort, *columns]),
        row_correct=np.concatenate([table.row_correct, *(part.correct for part in parts)]),
        row_tokens=np.concatenate([table.row_tokens, *(part.tokens for part in parts)]),
    )


def _generations(table: Table, composite: Composite) -> _Generations:
    """A composite's generations, on the problems with generations at its final effort."""
    initial, final = (table.efforts.index(effort) for effort in composite.efforts)
    of_initial = (table.row_effort == initial) & (table.counts[table.row_problem, final] > 0)
    problem = table.row_problem[of_initial]
    correct, tokens = table.row_correct[of_initial], table.row_tokens[of_initial]
    hits = tokens >= composite.budget
    final_accuracy = table.successes[:, final] / np.maximum(table.counts[:, final], 1.0)
    return _Generations(
        problem,
        np.where(hits, final_accuracy[problem], correct),
        np.where(hits, composite.budget + table.tokens[problem, final], tokens),
    )


def promising(table: Table) -> tuple[Composite, ...]:
    """The best `stop` and the best `cap` that beat the mixtures of the fixed efforts.

    As fixed efforts, for every request: by more than a standard error of the difference in accuracy
    at equal tokens.
    """
    best: dict[Kind, tuple[float, Composite]] = {}
    rows = table.complete
    accuracy, tokens, cluster = table.accuracy[rows], table.tokens[rows], table.cluster[rows]
    for composite in candidates(table):
        part = _generations(table, composite)
        size = table.size
        counts = part.sums(size)[rows]
        gain = gains(
            np.column_stack([accuracy, part.sums(size, part.correct)[rows] / counts]),
            np.column_stack([tokens, part.sums(size, part.tokens)[rows] / counts]),
        )
        z = z_score(gain, cluster)
        if z > max(_MIN_Z, best.get(composite.kind, (0.0,))[0]):
            best[composite.kind] = z, composite
    return tuple(composite for _, composite in best.values())


def gains(accuracy: Array, tokens: Array) -> Array:
    """Accuracy of the last column minus that of the best mixture of the others at equal tokens.

    Per problem (N,), from (N, E); where the last column is the most expensive, over the most
    accurate one.
    """
    mean_accuracy, mean_tokens = accuracy.mean(axis=0), tokens.mean(axis=0)
    low, high = _bracket(mean_accuracy[:-1], mean_tokens[:-1], float(mean_tokens[-1]))
    slope = 0.0
    if low != high:
        rise = mean_accuracy[high] - mean_accuracy[low]
        slope = float(rise / (mean_tokens[high] - mean_tokens[low]))
    return accuracy[:, -1] - accuracy[:, low] - slope * (tokens[:, -1] - tokens[:, low])


def z_score(values: Array, cluster: Index) -> float:
    """The mean of values (N,) over its standard error; those of a `cluster` (N,) vary together."""
    sums = np.bincount(cluster, values - values.mean())
    return float(values.sum()) / max(float(np.sqrt((sums**2).sum())), _TINY)


def _bracket(accuracy: Array, tokens: Array, spent: float) -> tuple[int, int]:
    """The two efforts whose mixture is the most accurate one of at most `spent` mean tokens.

    One effort twice where no mixture of two is better; the cheapest one where none is affordable.
    """
    affordable = [int(effort) for effort in np.flatnonzero(tokens <= spent)]
    if not affordable:
        return int(tokens.argmin()), int(tokens.argmin())
    best = max(affordable, key=lambda effort: accuracy[effort])
    pair, value = (best, best), float(accuracy[best])
    for low in affordable:
        for high in np.flatnonzero(tokens > spent):
            share = (spent - tokens[low]) / (tokens[high] - tokens[low])
            mixed = float(accuracy[low] + share * (accuracy[high] - accuracy[low]))
            if mixed > value:
                pair, value = (low, int(high)), mixed
    return pair
