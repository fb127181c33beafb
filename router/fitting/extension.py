"""A composite effort in a fit: estimated, certified, and dropped unless the router wins by it.

The estimates of the efforts and their prices stay as they are without it: requests that cannot have
a composite effort are served as before.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from router.arrays import Array, Index
from router.composite import Composite
from router.fitting.calibration import HeldOut
from router.fitting.composites import extended, promising, z_score
from router.fitting.cross_fit import CrossFit, cross_fit
from router.fitting.regressions import Regressions
from router.fitting.table import RECOMMENDED_PROBLEMS, Table
from router.parameters import Parameters
from router.policy import choose_rows

_MIN_Z = 2.0

Judge = Callable[[Table, Parameters, CrossFit], HeldOut]
"""Held-out estimates and outcomes of a table's complete problems."""


@dataclass(frozen=True)
class Extension:
    """A fit's composite effort: `parameters` of all columns, `held_out` estimates with it."""

    composite: Composite
    parameters: Parameters
    held_out: HeldOut


def extension(
    table: Table, folds: Index, cross: CrossFit, parameters: Parameters, judge: Judge
) -> Extension | None:
    """The composite by which the router wins, of those that are `promising`; None without one.

    On held-out estimates, at the price at which the two best fixed efforts tie: accuracy minus
    price times tokens rises by more than _MIN_Z standard errors of the paired difference, over
    clusters of problems. From fewer problems than a useful router needs there is none.
    """
    if int(table.complete.sum()) < RECOMMENDED_PROBLEMS:
        return None
    plain, price = judge(table, parameters, cross), tie_price(table)
    cluster = table.cluster[table.complete]
    best: tuple[float, Extension | None] = _MIN_Z, None
    for composite in promising(table):
        larger = extended(table, [composite])
        estimated = _held_out(larger, folds, cross)
        grown = _grown(parameters, larger, estimated)
        held_out = judge(larger, grown, estimated)
        z = z_score(_utility(held_out, price) - _utility(plain, price), cluster)
        if z > best[0]:
            best = z, Extension(composite, grown, held_out)
    return best[1]


def tie_price(table: Table) -> float:
    """The price, per 1,000 tokens, from which the most accurate fixed effort is not the best."""
    rows = table.complete
    accuracy, tokens = table.accuracy[rows].mean(axis=0), table.tokens[rows].mean(axis=0)
    best = int(accuracy.argmax())
    cheaper = np.flatnonzero(tokens < tokens[best])
    if not len(cheaper):
        return 0.0
    slopes = (accuracy[best] - accuracy[cheaper]) / (tokens[best] - tokens[cheaper])
    return 1000.0 * float(slopes.min())


def _utility(held_out: HeldOut, price: float) -> Array:
    """Accuracy minus price times tokens of each problem (N,), as the router chooses."""
    rows = np.arange(len(held_out.p))
    chosen = choose_rows(held_out.p, held_out.tokens, price)
    chosen = np.where(held_out.trusted, chosen, held_out.baseline)
    return held_out.accuracy[rows, chosen] - price / 1000 * held_out.spent[rows, chosen]


def _held_out(larger: Table, folds: Index, cross: CrossFit) -> CrossFit:
    """`cross` with the last column of `larger`, by the same setting."""
    estimated = cross_fit(larger, folds, [cross.setting])
    return replace(
        cross,
        p=np.column_stack([cross.p, estimated.p[:, -1]]),
        log_tokens=np.column_stack([cross.log_tokens, estimated.log_tokens[:, -1]]),
    )


def _grown(parameters: Parameters, larger: Table, cross: CrossFit) -> Parameters:
    """The parameters with those of the last column of `larger`, fitted to all problems."""
    fitted = Regressions.of(larger, cross.setting, cross.known_share)
    efforts = len(parameters.p_bias)
    of_composite = larger.row_effort == efforts
    residual = np.log1p(larger.row_tokens) - cross.log_tokens[larger.row_problem, larger.row_effort]
    return replace(
        parameters,
        p_weights=np.vstack([parameters.p_weights, fitted.p_weights[-1:]]),
        p_bias=np.append(parameters.p_bias, fitted.p_bias[-1]),
        token_weights=np.vstack([parameters.token_weights, fitted.token_weights[-1:]]),
        token_bias=np.append(parameters.token_bias, fitted.token_bias[-1]),
        word_weights=_merged(parameters.word_weights, fitted.word_weights),
        kinds=replace(
            parameters.kinds,
            by_kind={
                kind: _merged(offsets, fitted.kinds.by_kind[kind])
                for kind, offsets in parameters.kinds.by_kind.items()
            },
        ),
        smear=np.append(parameters.smear, np.exp(residual[of_composite]).mean()),
        spread=np.append(parameters.spread, 1.0),
        top_budget=np.append(parameters.top_budget, np.inf),
        top_tokens=np.append(parameters.top_tokens, np.inf),
        composites=1,
    )


def _merged(plain: Array, larger: Array) -> Array:
    """Values of logits and log tokens (..., 2E) with those of the last column of (..., 2E + 2)."""
    efforts = plain.shape[-1] // 2
    parts = (
        plain[..., :efforts],
        larger[..., efforts],
        plain[..., efforts:],
        larger[..., -1],
    )
    return np.concatenate(
        [part if part.ndim == plain.ndim else part[..., None] for part in parts], -1
    )
