"""What a saving is estimated from: held out requests one by one, treated ones as totals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """N requests whose effort was left to the gateway, all arrays (N,).

    `treated`: False for held out requests. `conversation`: an index. `p_treated` and `p_held_out`:
    the arms' probabilities at the time of the request. `outcomes`: tokens, seconds or scores.
    `predicted`: the outcome that the router expects at the baseline effort, nan if unknown.
    """

    treated: NDArray[np.bool_]
    conversation: NDArray[np.intp]
    p_treated: Array
    p_held_out: Array
    outcomes: Array
    predicted: Array

    def subset(self, rows: NDArray[np.bool_]) -> "Sample":
        """The requests that `rows`, a mask (N,), selects."""
        return Sample(
            self.treated[rows],
            self.conversation[rows],
            self.p_treated[rows],
            self.p_held_out[rows],
            self.outcomes[rows],
            self.predicted[rows],
        )


@dataclass(frozen=True)
class Population:
    """Treated and held out requests.

    `requests`, `consumed`: the number of treated requests and the sum of their outcomes. `known`,
    `known_sum`: how many of them have a prediction, and its sum. `weight`, `weight_predicted`,
    `weight_squares`, `weight_unknown`: sums over treated and held out requests of p_treated**2 /
    p_held_out + p_treated: of those with a prediction by itself, times it, and times its square;
    of those without one. `held_out` has all held out requests, or each of `thinned` with the same
    chance. `examples` are some treated requests, of whole conversations.
    """

    requests: float
    consumed: float
    known: float
    known_sum: float
    weight: float
    weight_predicted: float
    weight_squares: float
    weight_unknown: float
    held_out: Sample
    examples: Sample | None = None

    @classmethod
    def of(cls, sample: Sample) -> "Population":
        """The population of a sample that has all requests."""
        treated = sample.treated
        known = np.isfinite(sample.predicted)
        weight = sample.p_treated**2 / sample.p_held_out + sample.p_treated
        predicted = np.where(known, sample.predicted, 0.0)
        return cls(
            requests=float(treated.sum()),
            consumed=float(sample.outcomes[treated].sum()),
            known=float((treated & known).sum()),
            known_sum=float(predicted[treated].sum()),
            weight=float(weight[known].sum()),
            weight_predicted=float((weight * predicted).sum()),
            weight_squares=float((weight * predicted**2).sum()),
            weight_unknown=float(weight[~known].sum()),
            held_out=sample.subset(~treated),
            examples=sample.subset(treated),
        )
