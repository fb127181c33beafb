"""What budgets cut from logged generations: correct answers that are lost, tokens that are saved.

A generation that takes more tokens than its budget counts as wrong, and ends at the budget.
"""

import numpy as np

from router.arrays import Array, Index
from router.estimate import budgets
from router.fitting.cross_fit import FOLDS, CrossFit
from router.fitting.table import Table

_WITHOUT_BUDGET = "none"
"""Thinks nothing, so that a budget cuts nothing."""


def upper_quantile(values: Array, tail: float) -> float:
    """A bound that a new, exchangeable value exceeds with probability at most `tail`.

    The split-conformal quantile of `values` (N,) (Vovk, Gammerman & Shafer, 2005); the largest
    value where N is too small, 0 where it is 0.
    """
    if len(values) == 0:
        return 0.0
    rank = int(np.ceil((len(values) + 1) * (1 - tail)))
    return float(np.sort(values)[min(rank, len(values)) - 1])


def spreads(table: Table, cross: CrossFit, cut: float, rows: Index | None = None) -> Array:
    """Factors (E,) from median tokens to the tokens that a share `cut` of correct answers exceeds.

    `rows`: the generations that count; None takes all.
    """
    chosen = np.arange(len(table.row_correct)) if rows is None else rows
    chosen = chosen[table.row_correct[chosen] == 1]
    problem, effort = table.row_problem[chosen], table.row_effort[chosen]
    residual = np.log1p(table.row_tokens[chosen]) - cross.log_tokens[problem, effort]
    return np.array([
        np.exp(upper_quantile(residual[effort == column], cut))
        for column in range(len(table.efforts))
    ])  # fmt: skip


def held_out_budgets(
    table: Table, cross: CrossFit, folds: Index, cut: float, slack: float
) -> Array:
    """The budgets (N, E) of each problem, from fits and spreads that have not seen its fold."""
    held_out = np.zeros_like(cross.log_tokens)
    for fold in range(FOLDS):
        rows = np.flatnonzero(folds[table.row_problem] != fold)
        spread = spreads(table, cross, cut, rows)
        problems = folds == fold
        held_out[problems] = budgets(cross.log_tokens[problems], spread, slack)
    top = held_out.max(axis=0)
    unknown = (cross.known_share < 1.0) | (cross.guard > 0)
    return np.where(unknown[:, np.newaxis], top, held_out)


def within_budgets(table: Table, budget: Array) -> tuple[Array, Array]:
    """Accuracy and mean tokens, both (N, E), of the generations at budgets (N, E)."""
    bound = budget.copy()
    if _WITHOUT_BUDGET in table.efforts:
        bound[:, table.efforts.index(_WITHOUT_BUDGET)] = np.inf
    of_row = bound[table.row_problem, table.row_effort]
    cells = table.row_problem * len(table.efforts) + table.row_effort

    def means(values: Array) -> Array:
        sums = np.bincount(cells, weights=values, minlength=table.counts.size)
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums.reshape(table.counts.shape) / table.counts

    accuracy = means(table.row_correct * (table.row_tokens <= of_row))
    return accuracy, means(np.minimum(table.row_tokens, of_row))
