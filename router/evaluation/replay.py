"""Judge a router on logged outcomes: its policy against what needs no router.

    tops replay --router router.json OUTCOMES

All figures are means over problems that were judged at every effort of the router; intervals are
95 % bootstrap intervals over problems, paired where two policies are compared. Use outcomes that
the router was not fitted on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.artifact import Artifact
from router.estimate import Array, predict, trusted
from router.evaluation.comparison import Figure
from router.evaluation.oracle import generations, oracle_frontier
from router.evaluation.report import Report
from router.fitting.basis import Basis
from router.fitting.calibration import PRICES
from router.fitting.outcomes import OutcomeError, Reading
from router.fitting.table import Index, Table, tabulate
from router.policy import Policy, choose_rows

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
    figures = Report(
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
