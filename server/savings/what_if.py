"""Other policies, evaluated from the ledger before they are deployed.

Every logged effort keeps its probability, so a policy that was not followed can be judged by the
requests that happened to get what it would have given, the router's predictions filling in for the
others: doubly robust off-policy evaluation (Dudik, Langford & Li, ICML 2011).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from router.effort import Effort, is_effort, nearest
from server.ledger.reader import Row
from server.savings.estimator import ENOUGH_HELD_OUT

Choice = Callable[[Row], str]
"""The effort that a policy gives a request."""

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Value:
    """Mean thinking tokens of a request under a policy, with a 95 % interval.

    `supported` is the share of requests whose effort under it had a chance of being logged; of the
    others only the router's prediction is known, and the interval does not tell that doubt.
    `pending` where it had that chance in too few conversations to tell anything by.
    """

    tokens: float
    ends: tuple[float, float]
    supported: float
    requests: int
    pending: bool


def at_price(price: float) -> Choice:
    """Most P(correct) less price x tokens; the baseline where there is no estimate."""

    def choose(row: Row) -> str:
        p, tokens = row["p_correct"], row["expected_tokens"]
        if not p or row["abstained"]:
            return row["baseline"]
        return max(p, key=lambda effort: p[effort] - price * tokens[effort] / 1000)

    return choose


def fixed(effort: Effort) -> Choice:
    """Always one effort, or the nearest that the model has."""

    def choose(row: Row) -> str:
        levels: list[str] = [*(row["expected_tokens"] or ())]
        known: list[Effort] = [level for level in levels if is_effort(level)]
        return nearest(effort, known) if known else row["baseline"]

    return choose


def evaluate(rows: Sequence[Row], choice: Choice) -> Value | None:
    """What a policy would have come to; None without requests to judge it by.

    Requests pinned by an earlier turn are left out: another policy would have pinned otherwise.
    """
    judged = [row for row in rows if row["expected_tokens"] and not row.get("pinned")]
    judged = [row for row in judged if row["source"] != "pinned"]  # of rows that tell no more
    if not judged:
        return None
    worth = np.zeros(len(judged))
    supported, followed = 0, set[str]()
    for place, row in enumerate(judged):
        effort = choice(row)
        model = row["choices"] * row["expected_tokens"][effort]
        chance = _chance(row, effort)
        supported += chance > 0
        worth[place] = model
        if row["effort"] == effort and chance > 0:
            followed.add(row["conversation"])
            worth[place] += (row["thinking_tokens"] - model) / chance
    mean = float(worth.mean())
    names = np.unique([row["conversation"] for row in judged], return_inverse=True)[1]
    sums = np.bincount(names, weights=worth - mean)
    wide = _Z * sqrt(float((sums**2).sum()) * len(sums) / max(len(sums) - 1, 1)) / len(judged)
    return Value(
        mean,
        (mean - wide, mean + wide),
        supported / len(judged),
        len(judged),
        supported > 0 and len(followed) < ENOUGH_HELD_OUT,
    )


def _chance(row: Row, effort: str) -> float:
    """The probability with which the request got this effort."""
    return (
        row["p_treated"] * (row["routed"] == effort)
        + row["p_holdout"] * (row["baseline"] == effort)
        + row["p_explore"]
    )
