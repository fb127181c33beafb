"""Random intercepts of the kinds of traffic: what a kind adds to the estimates of its prompts.

    known = KnownKinds.of(kinds)
    effects = logit_effects(known.rows(kinds), logits, successes, counts)

A kind's intercepts are shrunk to 0, the mean of all kinds, by how little evidence it has. How much
kinds differ is learned from all of them (empirical Bayes: Robbins, 1956; as in a mixed model, Laird
& Ware, Biometrics 38(4), 1982).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from router.arrays import Array, Index
from router.estimate import sigmoid
from router.fitting.outcomes import Outcome
from router.fitting.table import Table
from router.kind_offsets import NO_KINDS, KindOffsets

MIN_PROMPTS = 5
"""A kind with fewer distinct prompts is unknown."""
_PRIOR_SHARED, _PRIOR_OWN = 1.0, 0.25
"""Variances, in squared logits, of one kind that every fit is assumed to have seen: without it, one
or two kinds would say that kinds hardly differ."""
_STEPS = 25
_MAX_STEP = 2.0
_TOLERANCE = 1e-3
_MIN_VARIANCE = 1e-4
_GUARD_Z = 1.2816
"""Standard deviations between kinds that the guard of an unknown kind covers: 90 % of them."""
_MAX_SLOPE = 0.25
"""The largest derivative of P(correct) by its logit."""


@dataclass(frozen=True)
class KnownKinds:
    """The kinds of which a fit has enough prompts; none where no row has a kind."""

    names: tuple[str | None, ...]

    @classmethod
    def of(cls, kinds: Sequence[str | None]) -> "KnownKinds":
        """The kinds of N distinct prompts."""
        counts = Counter(kinds)
        if set(counts) <= {None}:
            return cls(())
        return cls(tuple(kind for kind, count in counts.items() if count >= MIN_PROMPTS))

    def rows(self, kinds: Sequence[str | None]) -> Index:
        """The number (N,) of each kind; that of an unknown one is how many there are.

        A kind that is unknown counts as none where rows without a kind are known.
        """
        numbers = {kind: number for number, kind in enumerate(self.names)}
        unknown = numbers.get(None, len(self.names))
        return np.array([numbers.get(kind, unknown) for kind in kinds], dtype=np.intp)


@dataclass(frozen=True)
class Effects:
    """Intercepts (K + 1, E) of K kinds, with 0 for unknown ones, and variances between kinds.

    `shared`: of what a kind adds at every effort. `own`: of what it adds at one.
    """

    intercepts: Array
    shared: float
    own: float

    @property
    def guard(self) -> float:
        """`KindOffsets.guard`: how much two efforts' P(correct) may differ by the kind."""
        return min(_GUARD_Z * sqrt(2 * self.own) * _MAX_SLOPE, 1.0)


def logit_effects(
    rows: Index, size: int, logits: Array, successes: Array, counts: Array
) -> Effects:
    """What `size` kinds add to the logits of P(correct).

    Args:
        rows: the kind of each of N prompts, as `KnownKinds.rows`.
        size: how many kinds are known.
        logits: without kinds, (N, E).
        successes: correct generations, (N, E).
        counts: generations, (N, E). Each cell with generations has weight 1.
    """
    efforts = counts.shape[1]
    observed = (counts > 0).astype(np.float64)
    share = np.divide(successes, counts, out=np.zeros_like(logits), where=counts > 0)
    effects, shared, own = np.zeros((size + 1, efforts)), _PRIOR_SHARED, _PRIOR_OWN
    for _ in range(_STEPS if size else 0):
        p = sigmoid(logits + effects[rows])
        curvature = _sums(observed * p * (1 - p), rows, size)
        gradient = _sums(observed * (share - p), rows, size)
        precision = np.linalg.inv(_covariance(shared, own, efforts))
        blocks = precision + curvature[:, :, np.newaxis] * np.eye(efforts)
        inverse = np.array(np.linalg.inv(blocks), dtype=np.float64)
        slope = gradient - effects[:size] @ precision
        step = np.einsum("kef,kf->ke", inverse, slope).clip(-_MAX_STEP, _MAX_STEP)
        effects[:size] += step
        former = shared, own
        shared, own = _variances(effects[:size], inverse)
        moved = max(float(np.abs(step).max()), abs(shared - former[0]), abs(own - former[1]))
        if moved < _TOLERANCE:
            break
    return Effects(effects, shared, own)


def _covariance(shared: float, own: float, efforts: int) -> Array:
    return shared + own * np.eye(efforts)


def _sums(values: Array, rows: Index, size: int) -> Array:
    """The sums (K, E) of values (N, E) by kind, without those of unknown kinds."""
    columns = [np.bincount(rows, column, minlength=size + 1)[:size] for column in values.T]
    return np.stack(columns, axis=1).astype(np.float64)


def _variances(effects: Array, spread: Array) -> tuple[float, float]:
    """Variances between K kinds from their intercepts (K, E) and posterior covariances (K, E, E).

    A step of expectation maximisation, with the kind that every fit is assumed to have seen.
    """
    kinds, efforts = effects.shape
    moments = effects.T @ effects + spread.sum(axis=0)
    moments = (moments + _covariance(_PRIOR_SHARED, _PRIOR_OWN, efforts)) / (kinds + 1)
    diagonal = float(np.trace(moments)) / efforts
    between = (float(moments.sum()) - diagonal * efforts) / max(efforts * (efforts - 1), 1)
    shared = max(between, _MIN_VARIANCE)
    return shared, max(diagonal - shared, _MIN_VARIANCE)


def token_effects(rows: Index, size: int, log_tokens: Array, tokens: Array) -> Array:
    """What `size` kinds add to log(1 + tokens): intercepts (K + 1, E), 0 for unknown kinds.

    Each effort by itself; `log_tokens` (N, E) are estimates without kinds, `tokens` (N, E) means of
    generations or nan.
    """
    effects = np.zeros((size + 1, tokens.shape[1]))
    for effort in range(tokens.shape[1] if size else 0):
        observed = np.isfinite(tokens[:, effort])
        residual = np.log1p(tokens[observed, effort]) - log_tokens[observed, effort]
        effects[:size, effort] = _shrunk_means(residual, rows[observed], size)
    return effects


def _shrunk_means(residual: Array, rows: Index, size: int) -> Array:
    """Means (K,) of residuals (N,) by kind, shrunk by empirical Bayes."""
    counts = np.bincount(rows, minlength=size + 1)[:size].astype(np.float64)
    sums = np.bincount(rows, residual, minlength=size + 1)[:size]
    within = between = max(float(residual.var()), _MIN_VARIANCE)
    padded = np.zeros(size + 1)
    for _ in range(_STEPS):
        variance = 1.0 / (counts / within + 1.0 / between)
        padded[:size] = variance * sums / within
        between = max(float((padded[:size] ** 2 + variance).mean()), _MIN_VARIANCE)
        left = float(((residual - padded[rows]) ** 2).sum() + (counts * variance).sum())
        within = max(left / len(residual), _MIN_VARIANCE)
    return padded[:size]


def kind_offsets(table: Table, logits: Array, log_tokens: Array) -> KindOffsets:
    """What the kinds of a table add to estimates without kinds, both (N, E)."""
    known = KnownKinds.of(table.kinds)
    if not known.names:
        return NO_KINDS
    rows, size = known.rows(table.kinds), len(known.names)
    effects = logit_effects(rows, size, logits, table.successes, table.counts)
    offsets = np.hstack([effects.intercepts, token_effects(rows, size, log_tokens, table.tokens)])
    return KindOffsets(dict(zip(known.names, offsets, strict=False)), effects.guard)


def several_kinds(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """A warning where rows of the same distinct prompt have different kinds."""
    kinds: dict[str, set[str | None]] = {}
    for outcome in outcomes:
        kinds.setdefault(outcome.problem_id, set()).add(outcome.kind)
    mixed = sum(len(of_prompt) > 1 for of_prompt in kinds.values())
    if not mixed:
        return ()
    return (f"{mixed} prompts have rows of several kinds: each counts once, for the first kind",)
