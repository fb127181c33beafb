"""Judge a router on logged outcomes: its policy against what needs no router.

    tops replay --router router.json OUTCOMES

All figures are means over problems that were judged at every effort of the router; intervals are
95 % bootstrap intervals over problems, paired where two policies are compared. Use outcomes that
the router was not fitted on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from router.artifact import Artifact
from router.basis import Basis
from router.calibration import PRICES
from router.comparison import (
    Draws,
    Figure,
    Interval,
    Means,
    accuracy_at,
    area,
    gap_closed,
    hull,
)
from router.estimate import Array, predict, trusted
from router.outcomes import OutcomeError, Reading
from router.policy import Policy, choose_rows
from router.table import Index, Table, tabulate

_NEIGHBOURS = 25
_FOLDS = 5


@dataclass(frozen=True)
class _Log:
    """N problems judged at every effort: accuracy and mean tokens (N, E), and two halves of each.

    `table` has also the problems that were not; `rows` picks those that were.
    """

    table: Table
    rows: Index
    accuracy: Array
    tokens: Array
    halves: tuple[tuple[Array, Array], ...]

    def of(self, chosen: Index) -> Figure:
        """Accuracy and tokens when problem i gets effort `chosen[i]`."""
        rows = np.arange(len(chosen))
        return Figure(self.accuracy[rows, chosen], self.tokens[rows, chosen])


def replay(artifact: Artifact, reading: Reading, policy: Policy) -> dict[str, object]:
    """The object of `replay --json`. Raises OutcomeError where nothing can be judged."""
    log = _log(
        tabulate([o for o in reading.outcomes if o.effort in artifact.efforts], artifact.efforts)
    )
    x, words = log.table.only(log.rows)
    found = predict(artifact.parameters, x, words)
    judged = trusted(artifact.parameters, x, words) & log.table.readable[log.rows]
    baseline = artifact.efforts.index(artifact.baseline)

    def at(price: float) -> Index:
        return np.where(judged, choose_rows(found.p_correct, found.tokens, price), baseline)

    chosen = _decisions(artifact, policy, at, len(x))
    routed = log.of(chosen)
    fixed = [log.of(np.full(len(x), effort)) for effort in range(len(artifact.efforts))]
    neighbours = _neighbours(log, float(routed.tokens.mean()))
    frontier = [log.of(at(price)) for price in PRICES]
    oracle = _oracle(log)
    report = _Report(artifact.efforts, routed, neighbours, fixed, frontier, oracle)
    return {
        "policy": {**report.policy(), "efforts": _shares(artifact.efforts, chosen)},
        "baselines": report.baselines(),
        "oracle": {**report.oracle(), "cross_fitted": len(log.halves) == 2},
        **report.gap(),
        "area": report.areas(),
        "frontier": report.frontier(),
        "abstained": float(1 - judged.mean()),
        "problems": len(x),
        "skipped": reading.skipped + len(log.table.problem_ids) - len(x),
    }


class _Report:
    """The figures of a replay, each with its interval, from one set of bootstrap draws."""

    def __init__(
        self,
        efforts: Sequence[str],
        routed: Figure,
        neighbours: Figure,
        fixed: Sequence[Figure],
        frontier: Sequence[Figure],
        oracle: Sequence[Figure],
    ) -> None:
        self._efforts = efforts
        self._draws = Draws([routed, neighbours, *fixed, *frontier, *oracle])
        first = 2 + len(fixed)
        self._fixed = slice(2, first)
        self._frontier = slice(first, first + len(frontier))
        self._oracle = slice(first + len(frontier), None)
        self._prices = PRICES

    def policy(self) -> dict[str, object]:
        """Accuracy and tokens of the router's policy."""
        return self._entry(0)

    def baselines(self) -> dict[str, object]:
        """What needs no router, and by how much the policy differs from each."""
        found = {
            f"fixed:{effort}": self._against(index)
            for index, effort in enumerate(self._efforts, self._fixed.start)
        }
        return {**found, "random": self._random(), "knn": self._against(1)}

    def oracle(self) -> dict[str, object]:
        """The oracle at its most accurate."""
        return self._entry(self._oracle.start)

    def gap(self) -> dict[str, object]:
        """The share of the oracle's tokens that the policy saves, at equal accuracy."""
        closed = self._draws.interval(
            lambda means: gap_closed(
                means.only(slice(0, 1)), means.only(self._fixed), means.only(self._oracle)
            )
        )
        known = np.isfinite(closed.value)
        return {
            "oracle_gap_closed": closed.value if known else None,
            "oracle_gap_closed_ci": closed.ends if known else None,
        }

    def areas(self) -> dict[str, object]:
        """Areas under the accuracy-tokens frontiers, and what the router's has over mixing's."""

        def of(means: Means, policies: slice) -> float:
            return area(means.only(policies), means.only(self._fixed))

        found = {
            "policy": self._draws.interval(lambda means: of(means, self._frontier)),
            "random": self._draws.interval(lambda means: of(means, self._fixed)),
            "gain": self._draws.interval(
                lambda means: of(means, self._frontier) - of(means, self._fixed)
            ),
        }
        return {
            key: value
            for name, one in found.items()
            for key, value in ((name, one.value), (f"{name}_ci", one.ends))
        }

    def frontier(self) -> list[dict[str, float]]:
        """Accuracy and tokens of the policy at each price."""
        return [
            {
                "lambda": price,
                "accuracy": self._accuracy(index).value,
                "tokens": self._tokens(index).value,
            }
            for index, price in enumerate(self._prices, self._frontier.start)
        ]

    def _accuracy(self, index: int) -> Interval:
        return self._draws.interval(lambda means: float(means.accuracy[index]))

    def _tokens(self, index: int) -> Interval:
        return self._draws.interval(lambda means: float(means.tokens[index]))

    def _entry(self, index: int) -> dict[str, object]:
        return _entry(self._accuracy(index), self._tokens(index))

    def _against(self, index: int) -> dict[str, object]:
        """A policy that needs no router, and the router's policy minus it."""
        return {
            **self._entry(index),
            **_difference(
                self._draws.interval(lambda m: float(m.accuracy[0] - m.accuracy[index])),
                self._draws.interval(lambda m: float(m.tokens[0] - m.tokens[index])),
            ),
        }

    def _random(self) -> dict[str, object]:
        """The best random mixture of fixed efforts that spends what the policy spends."""

        def accuracy(means: Means) -> float:
            return accuracy_at(means.only(self._fixed), float(means.tokens[0]))

        def tokens(means: Means) -> float:
            corners = hull(means.only(self._fixed))[0]
            return float(np.clip(means.tokens[0], corners[0], corners[-1]))

        return {
            **_entry(self._draws.interval(accuracy), self._draws.interval(tokens)),
            **_difference(
                self._draws.interval(lambda m: float(m.accuracy[0]) - accuracy(m)),
                self._draws.interval(lambda m: float(m.tokens[0]) - tokens(m)),
            ),
        }


def table(result: Mapping[str, Any]) -> str:
    """A replay as text: a row a policy, the router's minus each baseline, intervals in brackets."""
    named = {"policy": result["policy"], **result["baselines"], "oracle": result["oracle"]}
    wide = max(map(len, named)) + 2
    heads = ("accuracy", "tokens", "policy minus it: accuracy", "policy minus it: tokens")
    lines = [" " * wide + "".join(f"{head:<29}" for head in heads).rstrip()]
    for name, entry in named.items():
        cells = [_told(entry, "accuracy", 4), _told(entry, "tokens", 1)]
        if "policy_accuracy_minus" in entry:
            cells += [
                _told(entry, "policy_accuracy_minus", 4, "+"),
                _told(entry, "policy_tokens_minus", 1, "+"),
            ]
        lines.append(f"{name:<{wide}}" + "".join(f"{cell:<29}" for cell in cells).rstrip())
    efforts = result["policy"]["efforts"]
    closed = "none to close"
    if result["oracle_gap_closed"] is not None:
        closed = _told(result, "oracle_gap_closed", 2)
    return "\n".join((
        *lines,
        "efforts: " + ", ".join(f"{effort} {share:.0%}" for effort, share in efforts.items()),
        f"share of the oracle's gap closed: {closed}",
        f"area under the frontier: {_told(result['area'], 'policy', 4)}, of random mixing "
        f"{_told(result['area'], 'random', 4)}, gain {_told(result['area'], 'gain', 4, '+')}",
        f"{result['problems']} problems; {result['skipped']} rows or problems left out; "
        f"{result['abstained']:.1%} abstained",
    ))  # fmt: skip


def _told(entry: Mapping[str, Any], name: str, digits: int, sign: str = "") -> str:
    low, high = entry[f"{name}_ci"]
    form = f"{sign}.{digits}f"
    return f"{entry[name]:{form}} [{low:{form}}, {high:{form}}]"


def _entry(accuracy: Interval, tokens: Interval) -> dict[str, object]:
    return {
        "accuracy": accuracy.value,
        "tokens": tokens.value,
        "accuracy_ci": accuracy.ends,
        "tokens_ci": tokens.ends,
    }


def _difference(accuracy: Interval, tokens: Interval) -> dict[str, object]:
    return {
        "policy_accuracy_minus": accuracy.value,
        "policy_accuracy_minus_ci": accuracy.ends,
        "policy_tokens_minus": tokens.value,
        "policy_tokens_minus_ci": tokens.ends,
    }


def _log(table: Table) -> _Log:
    rows = np.flatnonzero(table.complete)
    if not len(rows):
        raise OutcomeError(
            f"no problem was judged at every effort of the router ({', '.join(table.efforts)})"
        )
    return _Log(table, rows, table.accuracy[rows], table.tokens[rows], _halves(table, rows))


def _halves(table: Table, rows: Index) -> tuple[tuple[Array, Array], ...]:
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


def _decisions(
    artifact: Artifact, policy: Policy, at: Callable[[float], Index], size: int
) -> Index:
    """The router's effort index for each problem (N,), abstentions included."""
    effort = artifact.baseline
    if policy.mode == "fixed":
        if policy.effort not in artifact.efforts:
            raise OutcomeError(f"effort {policy.effort!r} is not one of the router's")
        effort = policy.effort
    elif (price := artifact.prices.of(policy)) is not None:
        return at(price)
    return np.full(size, artifact.efforts.index(effort))


def _shares(efforts: Sequence[str], chosen: Index) -> Mapping[str, float]:
    return {effort: float((chosen == index).mean()) for index, effort in enumerate(efforts)}


def _neighbours(log: _Log, tokens: float) -> Figure:
    """The nearest neighbours among the other folds, at the lowest price that meets `tokens`."""
    x, words = log.table.only(log.rows)
    z = Basis.learn(x, words).rows(x, words)
    squares = (z**2).sum(axis=1)
    folds = np.random.default_rng(0).permutation(np.arange(len(z)) % _FOLDS)
    p, spent = np.zeros_like(log.accuracy), np.zeros_like(log.tokens)
    for fold in range(_FOLDS):
        train = np.flatnonzero(folds != fold)
        for row in np.flatnonzero(folds == fold):
            distance = squares[train] - 2.0 * (z[train] @ z[row])
            near = train[np.argpartition(distance, min(_NEIGHBOURS, len(train)) - 1)[:_NEIGHBOURS]]
            p[row], spent[row] = log.accuracy[near].mean(axis=0), log.tokens[near].mean(axis=0)
    for price in PRICES:
        figure = log.of(choose_rows(p, spent, price))
        if figure.tokens.mean() <= tokens:
            return figure
    return log.of(spent.argmin(axis=1))


def _oracle(log: _Log) -> list[Figure]:
    """The best effort per problem, at rising prices; the first is as accurate as can be.

    Chosen on one half of the generations and judged on the other, both ways round; with single
    generations chosen and judged on the same ones, which flatters the oracle.
    """
    ways = [(log.halves[0], log.halves[-1]), (log.halves[-1], log.halves[0])]
    found: list[Figure] = []
    rows = np.arange(len(log.rows))
    for price in (1e-9, *PRICES[1:]):
        figures: list[Figure] = []
        for (seen, seen_tokens), (accuracy, tokens) in ways:
            chosen = choose_rows(seen, seen_tokens, price)
            figures.append(Figure(accuracy[rows, chosen], tokens[rows, chosen]))
        first, second = figures
        found.append(
            Figure((first.accuracy + second.accuracy) / 2, (first.tokens + second.tokens) / 2)
        )
    return found
