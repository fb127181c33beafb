"""Judge a router on logged outcomes: its policy against what needs no router.

    tops replay --router router.json OUTCOMES

All figures are means over problems that were judged at every effort of the router; intervals are
95 % bootstrap intervals over problems. Use outcomes that the router was not fitted on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.artifact import Artifact
from router.calibration import bootstrap
from router.estimate import Array, predict, range_excess
from router.outcomes import OutcomeError, Reading
from router.policy import Policy, certified_epsilon, choose_rows, price_rows
from router.table import Index, Table, tabulate

_NEIGHBOURS = 25
_FOLDS = 5
_PRICES: tuple[float, ...] = (0.0, *(float(price) for price in np.logspace(-4, 3, 57)))


@dataclass(frozen=True)
class _Log:
    """What was judged: features (N, F), accuracy and mean tokens (N, E), and two halves of each."""

    efforts: tuple[str, ...]
    x: Array
    accuracy: Array
    tokens: Array
    halves: tuple[tuple[Array, Array], ...]

    def of(self, chosen: Index) -> "_Figure":
        """Accuracy and tokens when problem i gets effort `chosen[i]`."""
        rows = np.arange(len(chosen))
        return _Figure(self.accuracy[rows, chosen], self.tokens[rows, chosen])


@dataclass(frozen=True)
class _Figure:
    """Accuracy and tokens per problem (N,)."""

    accuracy: Array
    tokens: Array

    def document(self) -> dict[str, object]:
        size = len(self.accuracy)
        return {
            "accuracy": float(self.accuracy.mean()),
            "tokens": float(self.tokens.mean()),
            "accuracy_ci": bootstrap(size, lambda rows: float(self.accuracy[rows].mean())),
            "tokens_ci": bootstrap(size, lambda rows: float(self.tokens[rows].mean())),
        }


def replay(artifact: Artifact, reading: Reading, policy: Policy) -> dict[str, object]:
    """The object of `replay --json`. Raises OutcomeError where nothing can be judged."""
    table = tabulate(
        [o for o in reading.outcomes if o.effort in artifact.efforts], artifact.efforts
    )
    log = _log(table)
    skipped = reading.skipped + len(table.problem_ids) - len(log.x)
    found = predict(artifact.parameters, log.x)
    chosen = _decisions(artifact, log.x, found.p_correct, found.tokens, policy)
    routed = log.of(chosen)
    spent = float(routed.tokens.mean())
    fixed = [log.of(np.full(len(log.x), e)) for e in range(len(log.efforts))]
    oracle = _oracle(log)
    best = oracle[0]
    neighbours = _neighbours(log, spent)
    return {
        "policy": {**routed.document(), "efforts": _shares(log.efforts, chosen)},
        "baselines": {
            **{
                f"fixed:{effort}": figure.document()
                for effort, figure in zip(log.efforts, fixed, strict=True)
            },
            "random": _mixture(fixed, spent).document(),
            "knn": neighbours.document(),
        },
        "oracle": {**best.document(), "cross_fitted": len(log.halves) == 2},
        "oracle_gap_closed": _gap_closed(routed, fixed, oracle),
        "frontier": [
            {
                "lambda": price,
                "accuracy": float(a.accuracy.mean()),
                "tokens": float(a.tokens.mean()),
            }
            for price in _PRICES
            for a in (log.of(price_rows(found.p_correct, found.tokens, price)),)
        ],
        "problems": len(log.x),
        "skipped": skipped,
    }


def _log(table: Table) -> _Log:
    rows = table.complete
    if not rows.any():
        raise OutcomeError(
            f"no problem was judged at every effort of the router ({', '.join(table.efforts)})"
        )
    return _Log(
        table.efforts, table.x[rows], table.accuracy[rows], table.tokens[rows], _halves(table, rows)
    )


def _halves(table: Table, rows: NDArray[np.bool_]) -> tuple[tuple[Array, Array], ...]:
    """(accuracy, tokens) of every other generation of a cell, and of the rest.

    One pair only, of everything, where some cell has a single generation.
    """
    accuracy, tokens = table.accuracy[rows], table.tokens[rows]
    if (table.counts[rows] < 2).any():
        return ((accuracy, tokens),)
    cells = table.row_problem * len(table.efforts) + table.row_effort
    order = np.argsort(cells, kind="stable")
    sorted_cells = cells[order]
    starts = np.searchsorted(sorted_cells, sorted_cells)
    parity = np.empty(len(cells), dtype=np.intp)
    parity[order] = (np.arange(len(cells)) - starts) % 2
    found: list[tuple[Array, Array]] = []
    for half in (0, 1):
        pick = parity == half
        counts, correct, spent = (
            np.bincount(cells[pick], weights=values[pick], minlength=table.counts.size)
            .reshape(table.counts.shape)[rows]
            .astype(np.float64)
            for values in (np.ones(len(cells)), table.row_correct, table.row_tokens)
        )
        found.append((correct / counts, spent / counts))
    return tuple(found)


def _decisions(artifact: Artifact, x: Array, p: Array, tokens: Array, policy: Policy) -> Index:
    """The router's effort index for each problem (N,), abstentions included."""
    baseline = artifact.efforts.index(artifact.baseline)
    if policy.mode == "fixed":
        if policy.effort not in artifact.efforts:
            raise OutcomeError(f"effort {policy.effort!r} is not one of the router's")
        return np.full(len(x), artifact.efforts.index(policy.effort))
    if policy.mode == "price":
        chosen = price_rows(p, tokens, policy.price)
    else:
        epsilon = certified_epsilon(artifact.epsilons, policy.max_loss)
        if epsilon is None:
            return np.full(len(x), baseline)
        chosen = choose_rows(p, tokens, epsilon, baseline)
    foreign = range_excess(artifact.parameters, x).sum(axis=1) > artifact.parameters.range_limit
    return np.where(foreign, baseline, chosen)


def _shares(efforts: tuple[str, ...], chosen: Index) -> Mapping[str, float]:
    return {effort: float((chosen == index).mean()) for index, effort in enumerate(efforts)}


def _mixture(fixed: list[_Figure], tokens: float) -> _Figure:
    """The most accurate random mixture of two fixed efforts whose mean tokens are `tokens`."""
    best: _Figure | None = None
    for cheap in fixed:
        for dear in fixed:
            low, high = cheap.tokens.mean(), dear.tokens.mean()
            if low > tokens or high < low:
                continue
            share = min((tokens - low) / (high - low), 1.0) if high > low else 0.0
            mixed = _Figure(
                (1 - share) * cheap.accuracy + share * dear.accuracy,
                (1 - share) * cheap.tokens + share * dear.tokens,
            )
            if best is None or mixed.accuracy.mean() > best.accuracy.mean():
                best = mixed
    return best or min(fixed, key=lambda figure: float(figure.tokens.mean()))


def _neighbours(log: _Log, tokens: float) -> _Figure:
    """The nearest neighbours among the other folds, at the lowest price that meets `tokens`."""
    z = (log.x - log.x.mean(axis=0)) / np.maximum(log.x.std(axis=0), 1e-9)
    folds = np.random.default_rng(0).permutation(np.arange(len(z)) % _FOLDS)
    p, spent = np.zeros_like(log.accuracy), np.zeros_like(log.tokens)
    for fold in range(_FOLDS):
        train = np.flatnonzero(folds != fold)
        for row in np.flatnonzero(folds == fold):
            near = train[((z[train] - z[row]) ** 2).sum(axis=1).argsort()[:_NEIGHBOURS]]
            p[row], spent[row] = log.accuracy[near].mean(axis=0), log.tokens[near].mean(axis=0)
    for price in _PRICES:
        figure = log.of(price_rows(p, spent, price))
        if figure.tokens.mean() <= tokens:
            return figure
    return log.of(spent.argmin(axis=1))


def _oracle(log: _Log) -> list[_Figure]:
    """The best effort per problem, at rising prices; the first is as accurate as can be.

    Chosen on one half of the generations and judged on the other, both ways round; with single
    generations chosen and judged on the same ones, which flatters the oracle.
    """
    ways = [(log.halves[0], log.halves[-1]), (log.halves[-1], log.halves[0])]
    found: list[_Figure] = []
    rows = np.arange(len(log.x))
    for price in (1e-9, *_PRICES[1:]):
        figures: list[_Figure] = []
        for (seen, seen_tokens), (accuracy, tokens) in ways:
            chosen = price_rows(seen, seen_tokens, price)
            figures.append(_Figure(accuracy[rows, chosen], tokens[rows, chosen]))
        first, second = figures
        found.append(
            _Figure((first.accuracy + second.accuracy) / 2, (first.tokens + second.tokens) / 2)
        )
    return found


def _gap_closed(routed: _Figure, fixed: list[_Figure], oracle: list[_Figure]) -> float | None:
    """Share of the tokens between fixed efforts and the oracle that the router saves.

    At the router's accuracy: `without` are the fewest tokens of a mixture of fixed efforts (or
    the most accurate one, where none gets there), `least` the oracle's.
    """
    target = float(routed.accuracy.mean())
    without = _fewest_tokens(fixed, target)
    least = _fewest_tokens(oracle, target)
    if without - least <= 1e-9:
        return None
    return (without - float(routed.tokens.mean())) / (without - least)


def _fewest_tokens(figures: list[_Figure], accuracy: float) -> float:
    """Fewest mean tokens of a mixture of two figures that is at least so accurate."""
    points = [(float(f.accuracy.mean()), float(f.tokens.mean())) for f in figures]
    reached = [tokens for level, tokens in points if level >= accuracy]
    if not reached:
        return max(points)[1]
    mixed = [
        low_tokens + (high_tokens - low_tokens) * (accuracy - low) / (high - low)
        for low, low_tokens in points
        for high, high_tokens in points
        if low < accuracy <= high
    ]
    return min(reached + mixed)
