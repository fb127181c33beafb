"""Other policies, evaluated from the ledger before they are deployed.

The ledger keeps the probability of each effort. A policy that was not deployed is evaluated on the
requests that got the effort it would choose; the router's predictions stand in for the others:
doubly robust off-policy evaluation (Dudik, Langford & Li, ICML 2011).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from router.effort import Effort, is_effort, nearest
from router.policy import OperatingPoint
from server.ledger.decisions import Batch
from server.savings.conversation_sums import ConversationSums
from server.savings.decisions import Decisions, decisions_of
from server.savings.estimator import ENOUGH_HELD_OUT
from server.savings.sample import Array

Choice = Callable[[Decisions], NDArray[np.intp]]
"""The efforts that a policy chooses, as places in `Decisions.names` (N,)."""

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Value:
    """Mean thinking tokens of a request under a policy, with a 95 % interval.

    `supported` is the share of requests for which the policy's effort had a positive probability.
    The others count with the router's prediction, whose error is not in the interval. `pending` if
    too few conversations got the policy's effort.
    """

    tokens: float
    interval: tuple[float, float]
    supported: float
    requests: int
    pending: bool


def at_point(point: OperatingPoint) -> Choice:
    """The effort that the router would choose at an operating point, or the baseline."""

    def chosen(rows: Decisions) -> NDArray[np.intp]:
        column = rows.column[rows.baseline]
        decides = ~rows.abstained & (point.dearer | (column >= 0))
        if not rows.efforts:
            return rows.baseline
        utility = rows.p_correct - point.price * rows.tokens_of_efforts / 1000
        known = np.flatnonzero(column >= 0)
        utility[known, column[known]] += point.margin
        if not point.dearer:
            limit = rows.tokens_of_efforts[np.arange(len(column)), column]
            utility[~(rows.tokens_of_efforts <= limit[:, None])] = -np.inf
        efforts = np.array(rows.efforts, dtype=np.intp)
        return np.where(decides, efforts[utility.argmax(axis=1)], rows.baseline)

    return chosen


def fixed(effort: Effort) -> Choice:
    """Always the same effort, or the nearest one that the model has."""

    def chosen(rows: Decisions) -> NDArray[np.intp]:
        levels = [rows.names[column] for column in rows.levels]
        efforts: list[Effort] = [level for level in levels if is_effort(level)]
        if not efforts:
            return rows.baseline
        return np.full_like(rows.baseline, rows.names.index(nearest(effort, efforts)))

    return chosen


class _Tally:
    def __init__(self) -> None:
        self.requests = self.supported = 0
        self.total = 0.0
        self.followed = set[int]()


def evaluate(batches: Iterable[Batch], choices: Sequence[Choice]) -> list[Value | None]:
    """The value of each policy; None without requests to evaluate it on.

    A request without a prediction of the policy's effort is left out of its value.
    """
    tallies = [_Tally() for _ in choices]
    with ConversationSums(len(choices)) as sums:
        for batch in batches:
            for rows in decisions_of(batch):
                values = [
                    _values(rows, choice(rows), tally)
                    for choice, tally in zip(choices, tallies, strict=True)
                ]
                sums.add(rows.conversation, np.stack(values, axis=1))
        means = np.array([tally.total / max(tally.requests, 1) for tally in tallies])
        spread, conversations = _spread(sums, means)
    return [_value(*row) for row in zip(tallies, means, spread, conversations, strict=True)]


def _values(rows: Decisions, chosen: NDArray[np.intp], tally: _Tally) -> Array:
    """What each request is worth to a policy's value (N,); nan if it is left out."""
    model = rows.choices * rows.tokens_of(chosen)
    is_level = np.array([is_effort(name) for name in rows.names])
    chance = (
        rows.p_treated * (rows.routed == chosen)
        + rows.p_holdout * (rows.baseline == chosen)
        + rows.p_explore * is_level[chosen]
    )
    judged, supported = np.isfinite(model), chance > 0
    follows = judged & supported & (rows.effort == chosen)
    correction = (rows.thinking_tokens - model)[follows] / chance[follows]
    model[follows] += correction
    tally.requests += int(judged.sum())
    tally.supported += int((judged & supported).sum())
    tally.total += float(model[judged].sum())
    if len(tally.followed) < ENOUGH_HELD_OUT:
        tally.followed.update(rows.conversation[follows].tolist())
    return model


def _spread(sums: ConversationSums, means: Array) -> tuple[Array, Array]:
    """Squares of the conversations' deviations, and the number of conversations, per policy."""
    squares, conversations = np.zeros(len(means)), np.zeros(len(means))
    for index, values in sums.parts():
        for column, mean in enumerate(means):
            judged = np.isfinite(values[:, column])
            deviations = values[judged, column] - mean
            squares[column] += (np.bincount(index[judged], weights=deviations) ** 2).sum()
            conversations[column] += np.count_nonzero(np.bincount(index[judged]))
    return squares, conversations


def _value(tally: _Tally, mean: float, squares: float, conversations: float) -> Value | None:
    if not tally.requests:
        return None
    spread = sqrt(squares * conversations / max(conversations - 1, 1))
    half_width = _Z * spread / tally.requests
    return Value(
        float(mean),
        (float(mean - half_width), float(mean + half_width)),
        tally.supported / tally.requests,
        tally.requests,
        tally.supported > 0 and len(tally.followed) < ENOUGH_HELD_OUT,
    )
