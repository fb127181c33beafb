"""The oracle of a replay: the best effort for each problem, for who has seen the problem before.

Cross-fitted: an effort is chosen by some generations of a problem and judged on others, so that
one lucky answer does not count as knowledge.
"""

import numpy as np

from router.estimate import Array
from router.evaluation.comparison import Figure
from router.fitting.calibration import PRICES
from router.fitting.table import Index, Table
from router.policy import choose_rows

_MOST_FOLDS = 10
_PRIORS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""How many generations the prior counts for, beside the problem's own."""
_TIE = 1e-9
"""A price that only breaks ties, for the cheaper effort."""


def generations(table: Table, rows: Index) -> int:
    """How many generations every cell of these problems has, at most those that are used."""
    return min(int(table.counts[rows].min()), _MOST_FOLDS)


def oracle_frontier(table: Table, rows: Index, p: Array) -> list[Figure]:
    """What the oracle comes to at each price, on the problems `rows` (complete ones).

    One part of the generations is left out in turn; an effort's P(correct) on a problem is the
    share among the rest, drawn towards the effort's mean or towards the router's own estimate `p`
    (N, E), whichever and as far as it predicts the part left out best: with few generations the
    router's is worth more. With single ones it chooses by what it is judged on, and is flattered.
    """
    folds = generations(table, rows)
    place = _places(table) % folds
    parts = [_cells(table, rows, place == fold) for fold in range(folds)]
    whole = _cells(table, rows, place >= 0)
    if folds == 1:
        seen = [(whole.correct / whole.counts, whole.tokens / whole.counts)]
    else:
        seen = _shrunk(whole, parts, p)
    index = np.arange(len(rows))
    found: list[Figure] = []
    for price in (_TIE, *PRICES[1:]):
        accuracy, tokens = np.zeros(len(rows)), np.zeros(len(rows))
        for (chance, spent), part in zip(seen, parts, strict=True):
            chosen = choose_rows(chance, spent, price)
            accuracy += (part.correct / part.counts)[index, chosen] / folds
            tokens += (part.tokens / part.counts)[index, chosen] / folds
        found.append(Figure(accuracy, tokens))
    return found


class _Sums:
    """Generations, correct ones and their tokens, each (N, E)."""

    def __init__(self, counts: Array, correct: Array, tokens: Array) -> None:
        self.counts = counts
        self.correct = correct
        self.tokens = tokens

    def __sub__(self, other: "_Sums") -> "_Sums":
        return _Sums(
            self.counts - other.counts, self.correct - other.correct, self.tokens - other.tokens
        )


def _shrunk(whole: _Sums, parts: list[_Sums], p: Array) -> list[tuple[Array, Array]]:
    """P(correct) and tokens (N, E) as known without each part."""
    rests = [whole - part for part in parts]

    def known(weight: float, by_router: bool) -> list[Array]:
        """For each part left out: the rest's share, and a prior that weighs so many generations."""
        means = [rest.correct.sum(axis=0) / rest.counts.sum(axis=0) for rest in rests]
        priors = [p if by_router else np.broadcast_to(mean, p.shape) for mean in means]
        return [
            (rest.correct + weight * prior) / (rest.counts + weight)
            for rest, prior in zip(rests, priors, strict=True)
        ]

    def loss(guesses: list[Array]) -> Array:
        """Log loss per effort (E,) on the parts that were left out."""
        total = np.zeros(p.shape[1])
        for guess, part in zip(guesses, parts, strict=True):
            chance = np.clip(guess, 1e-6, 1 - 1e-6)
            wrong = part.counts - part.correct
            total -= (part.correct * np.log(chance) + wrong * np.log(1 - chance)).sum(axis=0)
        return total

    ways = [known(weight, by_router) for weight in _PRIORS for by_router in (False, True)]
    best: list[int] = np.argmin([loss(guesses) for guesses in ways], axis=0).tolist()
    return [
        (
            np.stack([ways[way][part][:, effort] for effort, way in enumerate(best)], axis=1),
            rest.tokens / rest.counts,
        )
        for part, rest in enumerate(rests)
    ]


def _places(table: Table) -> Index:
    """The place (R,) of each generation within its cell: 0, 1, 2..."""
    cells = table.row_problem * len(table.efforts) + table.row_effort
    order = np.argsort(cells, kind="stable")
    in_order = cells[order]
    places = np.empty(len(cells), dtype=np.intp)
    places[order] = np.arange(len(cells)) - np.searchsorted(in_order, in_order)
    return places


def _cells(table: Table, rows: Index, picked: np.ndarray) -> _Sums:
    cells = (table.row_problem * len(table.efforts) + table.row_effort)[picked]
    sums = (
        np.bincount(cells, weights=values[picked], minlength=table.counts.size)
        .astype(np.float64)
        .reshape(table.counts.shape)[rows]
        for values in (np.ones(len(picked)), table.row_correct, table.row_tokens)
    )
    return _Sums(*sums)
