"""The figures of a replay, each with its interval, as an object and as text.

Knows policies by what they came to on each problem; not how they decided.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from router.evaluation.comparison import (
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
from router.fitting.calibration import PRICES


class Report:
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
