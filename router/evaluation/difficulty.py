"""How well estimates rank problems by difficulty, also on a kind of traffic that no fit has seen.

An area under the ROC curve is the probability that a correct generation has a higher estimate than
a wrong one: 0.5 says nothing. Between kinds it is easily high; within a kind that was left out of
the fit it shows what is learned of difficulty itself.
"""

import numpy as np

from router.arrays import Array, Index
from router.bootstrap import percentile_interval, resampled_rows
from router.estimate import sigmoid
from router.fitting.basis import Basis
from router.fitting.learner import fit_logits, one_thread
from router.fitting.table import MIN_PROBLEMS, Table

_C = 0.1
_DRAWS = 100
_MAX_KINDS = 12
_MAX_PROBLEMS = 4_000
"""Of a fit with a kind left out: enough for an AUC, and bounded in time."""


def auc(estimates: Array, share: Array) -> float | None:
    """The AUC of N problems' `estimates` (N,), where a `share` (N,) of generations is correct.

    Ties count half. None where all generations are correct, or all wrong.
    """
    values, rank = np.unique(estimates, return_inverse=True)
    correct = np.bincount(rank, share, minlength=len(values))
    wrong = np.bincount(rank, 1 - share, minlength=len(values))
    pairs = float(correct.sum() * wrong.sum())
    if pairs <= 0:
        return None
    return float((correct * (np.cumsum(wrong) - wrong / 2)).sum() / pairs)


def auc_entry(estimates: Array, share: Array) -> dict[str, object]:
    """The AUC with its 95 % bootstrap interval over problems, both None where it is undefined."""
    value = auc(estimates, share)
    draws = [
        drawn
        for rows in resampled_rows(len(share), _DRAWS)
        if (drawn := auc(estimates[rows], share[rows])) is not None
    ]
    defined = value is not None and draws
    return {"auc": value, "auc_ci": percentile_interval(draws) if defined else None}


def difficulty(table: Table, rows: Index, p: Array) -> dict[str, object]:
    """AUCs of P(correct) `p` (N, E), mean over efforts, on the problems `rows` (N,) and by kind.

    By kind also `left_out`: of a fit on the other kinds of these outcomes.
    """
    share = table.accuracy[rows].mean(axis=1)
    estimates = p.mean(axis=1)
    kinds = np.array([kind or "" for kind in table.kinds_of(rows)])
    names, counts = np.unique(kinds, return_counts=True)
    largest = [
        str(names[index])
        for index in np.argsort(-counts, kind="stable")[:_MAX_KINDS]
        if names[index] and counts[index] >= MIN_PROBLEMS
    ]
    by_kind = {
        kind: {
            "problems": int((kinds == kind).sum()),
            **auc_entry(estimates[kinds == kind], share[kinds == kind]),
            "left_out": _left_out(table, rows[kinds != kind], rows[kinds == kind]),
        }
        for kind in largest
    }
    return {**auc_entry(estimates, share), "kinds": by_kind}


def _left_out(table: Table, train: Index, test: Index) -> dict[str, object] | None:
    """The AUC on the problems `test` of a fit on `train`; None from too few problems."""
    if len(train) < MIN_PROBLEMS:
        return None
    train = np.random.default_rng(0).permutation(train)[:_MAX_PROBLEMS]
    x, words = table.prompts(train)
    with one_thread():
        basis = Basis.learn(x, words)
        successes, counts = table.successes[train], table.counts[train]
        logits = fit_logits(basis.predictors(x, words), successes, counts, _C)
    p = sigmoid(logits(basis.predictors(*table.prompts(test))))
    return auc_entry(p.mean(axis=1), table.accuracy[test].mean(axis=1))
