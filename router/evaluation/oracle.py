"""The oracle of a replay: the best effort for each problem, chosen from other generations of it.

Cross-fitted: an effort is chosen by some generations of a problem and judged on the others, so that
a lucky answer is no advantage.
"""

import numpy as np

from router.arrays import Array, Index, Mask
from router.evaluation.comparison import PolicyResult
from router.fitting.calibration import PRICES
from router.fitting.table import Table
from router.policy import choose_rows

_MAX_FOLDS = 10
_PRIOR_WEIGHTS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Candidate weights of the prior, in generations."""
_TIE_PRICE = 1e-9
"""A price that only breaks ties, in favour of the cheaper effort."""


def generations(table: Table, rows: Index) -> int:
    """Generations that every problem of `rows` has at every effort, at most _MAX_FOLDS."""
    return min(int(table.counts[rows].min()), _MAX_FOLDS)


def oracle_frontier(table: Table, rows: Index, p: Array) -> list[PolicyResult]:
    """The oracle's result at each of PRICES, on the complete problems `rows` (N,).

    One fold of the generations is left out in turn. An effort's P(correct) on a problem is the
    share of correct answers in the other folds, shrunk towards the effort's mean or towards the
    router's estimate `p` (N, E): the prior and the weight that predict the fold best. With one
    generation per problem the oracle chooses by the answer it is judged on, and is too optimistic.
    """
    folds = generations(table, rows)
    fold_numbers = _positions(table) % folds
    parts = [_cells(table, rows, fold_numbers == fold) for fold in range(folds)]
    total = _cells(table, rows, fold_numbers >= 0)
    if folds == 1:
        estimates = [(total.correct / total.counts, total.tokens / total.counts)]
    else:
        estimates = _shrunk(total, parts, p)
    index = np.arange(len(rows))
    frontier: list[PolicyResult] = []
    for price in (_TIE_PRICE, *PRICES[1:]):
        accuracy, tokens = np.zeros(len(rows)), np.zeros(len(rows))
        for (p_correct, spent), part in zip(estimates, parts, strict=True):
            chosen = choose_rows(p_correct, spent, price)
            accuracy += (part.correct / part.counts)[index, chosen] / folds
            tokens += (part.tokens / part.counts)[index, chosen] / folds
        frontier.append(PolicyResult(accuracy, tokens))
    return frontier


class _Sums:
    """Sums over generations, each (N, E): their number, the correct ones, their tokens."""

    def __init__(self, counts: Array, correct: Array, tokens: Array) -> None:
        self.counts = counts
        self.correct = correct
        self.tokens = tokens

    def __sub__(self, part: "_Sums") -> "_Sums":
        return _Sums(
            self.counts - part.counts, self.correct - part.correct, self.tokens - part.tokens
        )


def _shrunk(total: _Sums, parts: list[_Sums], p: Array) -> list[tuple[Array, Array]]:
    """P(correct) and tokens, both (N, E), estimated without each of the `parts`."""
    remainders = [total - part for part in parts]

    def shares(weight: float, by_router: bool) -> list[Array]:
        """P(correct) (N, E) without each part, with a prior that weighs `weight` generations."""
        means = [r.correct.sum(axis=0) / r.counts.sum(axis=0) for r in remainders]
        priors = [p if by_router else np.broadcast_to(mean, p.shape) for mean in means]
        return [
            (remainder.correct + weight * prior) / (remainder.counts + weight)
            for remainder, prior in zip(remainders, priors, strict=True)
        ]

    def loss(candidate: list[Array]) -> Array:
        """Log loss per effort (E,) on the parts that were left out."""
        sums = np.zeros(p.shape[1])
        for estimate, part in zip(candidate, parts, strict=True):
            clipped = np.clip(estimate, 1e-6, 1 - 1e-6)
            wrong = part.counts - part.correct
            sums -= (part.correct * np.log(clipped) + wrong * np.log(1 - clipped)).sum(axis=0)
        return sums

    candidates = [
        shares(weight, by_router) for weight in _PRIOR_WEIGHTS for by_router in (False, True)
    ]
    best: list[int] = np.argmin([loss(candidate) for candidate in candidates], axis=0).tolist()
    return [
        (
            np.stack([candidates[k][part][:, effort] for effort, k in enumerate(best)], axis=1),
            remainder.tokens / remainder.counts,
        )
        for part, remainder in enumerate(remainders)
    ]


def _positions(table: Table) -> Index:
    """The position (R,) of each generation among those of its problem and effort: 0, 1, 2..."""
    cells = table.row_problem * len(table.efforts) + table.row_effort
    order = np.argsort(cells, kind="stable")
    in_order = cells[order]
    positions = np.empty(len(cells), dtype=np.intp)
    positions[order] = np.arange(len(cells)) - np.searchsorted(in_order, in_order)
    return positions


def _cells(table: Table, rows: Index, selected: Mask) -> _Sums:
    """Sums over the `selected` (R,) generations, for the problems `rows`."""
    cells = (table.row_problem * len(table.efforts) + table.row_effort)[selected]
    sums = (
        np.bincount(cells, weights=values[selected], minlength=table.counts.size)
        .astype(np.float64)
        .reshape(table.counts.shape)[rows]
        for values in (np.ones(len(selected)), table.row_correct, table.row_tokens)
    )
    return _Sums(*sums)
