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
from numpy.typing import NDArray

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
    tokens_at,
)
from router.estimate import Array, predict, trusted
from router.oracle import generations, oracle_frontier
from router.outcomes import OutcomeError, Reading
from router.policy import Policy, choose_rows
from router.table import Index, Table, tabulate

_NEIGHBOURS = 25
_FOLDS = 5


@dataclass(frozen=True)
class Decided:
    """What a router gives each of N problems: effort indices (N,) by its policy and at each price.

    `p` (N, E) are its estimates of P(correct); `at_prices` has a row for each of PRICES; `judged`
    (N,) is False where it abstained.
    """

    p: Array
    chosen: Index
    at_prices: Index
    judged: NDArray[np.bool_]


def replay(artifact: Artifact, reading: Reading, policy: Policy) -> dict[str, object]:
    """The object of `replay --json`. Raises OutcomeError where nothing can be judged."""
    known = [outcome for outcome in reading.outcomes if outcome.effort in artifact.efforts]
    table = tabulate(known, artifact.efforts)
    rows = judged_rows(table)
    result = report(table, rows, decide(artifact, table, rows, policy))
    left_out = reading.skipped + len(table.problem_ids) - len(rows)
    return {**result, "problems": len(rows), "skipped": left_out}


def judged_rows(table: Table) -> Index:
    """The problems that were judged at every effort. Raises OutcomeError where there is none."""
    rows = np.flatnonzero(table.complete)
    if not len(rows):
        raise OutcomeError(
            f"no problem was judged at every effort of the router ({', '.join(table.efforts)})"
        )
    return rows


def decide(artifact: Artifact, table: Table, rows: Index, policy: Policy) -> Decided:
    """The efforts that a router gives the problems `rows`, abstentions included."""
    x, words = table.only(rows)
    found = predict(artifact.parameters, x, words)
    judged = trusted(artifact.parameters, x, words) & table.readable[rows]
    baseline = artifact.efforts.index(artifact.baseline)

    def at(price: float) -> Index:
        return np.where(judged, choose_rows(found.p_correct, found.tokens, price), baseline)

    effort = artifact.baseline
    if policy.mode == "fixed":
        if policy.effort not in artifact.efforts:
            raise OutcomeError(f"effort {policy.effort!r} is not one of the router's")
        effort = policy.effort
    price = None if policy.mode == "fixed" else artifact.prices.of(policy)
    fixed = np.full(len(rows), artifact.efforts.index(effort))
    chosen = fixed if price is None else at(price)
    return Decided(found.p_correct, chosen, np.stack([at(price) for price in PRICES]), judged)


def report(table: Table, rows: Index, decided: Decided) -> dict[str, object]:
    """What decisions came to on the problems `rows`, against what needs no router."""
    accuracy, tokens = table.accuracy[rows], table.tokens[rows]

    def of(chosen: Index) -> Figure:
        each = np.arange(len(rows))
        return Figure(accuracy[each, chosen], tokens[each, chosen])

    routed = of(decided.chosen)
    p, spent = _neighbours(table, rows)
    figures = _Report(
        efforts=table.efforts,
        routed=routed,
        neighbours=_within(float(routed.tokens.mean()), p, spent, of),
        fixed=[of(np.full(len(rows), effort)) for effort in range(len(table.efforts))],
        frontier=[of(chosen) for chosen in decided.at_prices],
        oracle=oracle_frontier(table, rows, decided.p),
    )
    return {
        "policy": {**figures.policy(), "efforts": _shares(table.efforts, decided.chosen)},
        "baselines": figures.baselines(),
        "oracle": {**figures.oracle(), "cross_fitted": generations(table, rows) > 1},
        **figures.gap(),
        "area": figures.areas(),
        "frontier": figures.frontier(),
        "abstained": float(1 - decided.judged.mean()),
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
        self._draws = Draws([routed, neighbours, *fixed, *oracle, *frontier])
        self._fixed = slice(2, 2 + len(fixed))
        self._oracle = slice(self._fixed.stop, self._fixed.stop + len(oracle))
        self._best = slice(self._fixed.start, self._oracle.stop)
        self._frontier = slice(self._oracle.stop, None)

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
        """The oracle where its accuracy is the policy's, mixing with fixed efforts if need be."""

        def accuracy(means: Means) -> float:
            best = means.only(self._best)
            return min(float(means.accuracy[0]), float(best.accuracy.max()))

        def tokens(means: Means) -> float:
            return tokens_at(means.only(self._best), float(means.accuracy[0]))

        return _entry(self._draws.interval(accuracy), self._draws.interval(tokens))

    def gap(self) -> dict[str, object]:
        """The share of the oracle's tokens that the policy saves, at equal accuracy."""
        closed = self._draws.interval(
            lambda means: gap_closed(
                means.only(slice(0, 1)), means.only(self._fixed), means.only(self._best)
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
            for index, price in enumerate(PRICES, self._frontier.start)
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


def _shares(efforts: Sequence[str], chosen: Index) -> Mapping[str, float]:
    return {effort: float((chosen == index).mean()) for index, effort in enumerate(efforts)}


def _neighbours(table: Table, rows: Index) -> tuple[Array, Array]:
    """P(correct) and tokens (N, E) as the nearest neighbours among the other folds have them."""
    x, words = table.only(rows)
    accuracy, tokens = table.accuracy[rows], table.tokens[rows]
    z = Basis.learn(x, words).rows(x, words)
    squares = (z**2).sum(axis=1)
    folds = np.random.default_rng(0).permutation(np.arange(len(z)) % _FOLDS)
    p, spent = np.zeros_like(accuracy), np.zeros_like(tokens)
    for fold in range(_FOLDS):
        train = np.flatnonzero(folds != fold)
        for row in np.flatnonzero(folds == fold):
            distance = squares[train] - 2.0 * (z[train] @ z[row])
            near = train[np.argsort(distance)[:_NEIGHBOURS]]
            p[row], spent[row] = accuracy[near].mean(axis=0), tokens[near].mean(axis=0)
    return p, spent


def _within(tokens: float, p: Array, spent: Array, of: Callable[[Index], Figure]) -> Figure:
    """What estimates come to at the lowest price at which they spend at most `tokens`."""
    for price in PRICES:
        figure = of(choose_rows(p, spent, price))
        if figure.tokens.mean() <= tokens:
            return figure
    return of(spent.argmin(axis=1))
