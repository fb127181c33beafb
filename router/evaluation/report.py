"""The figures of a replay, each with its interval, as an object and as text.

Knows the result of each policy on each problem, not how the policy decided.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from router.evaluation.comparison import (
    Draws,
    Interval,
    Means,
    PolicyResult,
    accuracy_at,
    area,
    gap_closed,
    tokens_at,
)
from router.fitting.calibration import PRICES


class Report:
    """The figures of a replay, each with its interval, from one set of bootstrap draws."""

    def __init__(
        self,
        efforts: Sequence[str],
        routed: PolicyResult,
        neighbours: PolicyResult,
        controls: Mapping[str, PolicyResult],
        fixed: Sequence[PolicyResult],
        frontier: Sequence[PolicyResult],
        oracle: Sequence[PolicyResult],
    ) -> None:
        self._efforts = efforts
        self._controls = tuple(controls)
        self._draws = Draws([
            routed, neighbours, *controls.values(), *fixed, *oracle, *frontier,
        ])  # fmt: skip
        first_fixed = 2 + len(controls)
        self._fixed = slice(first_fixed, first_fixed + len(fixed))
        self._oracle = slice(self._fixed.stop, self._fixed.stop + len(oracle))
        self._best = slice(self._fixed.start, self._oracle.stop)
        self._frontier = slice(self._oracle.stop, None)

    def policy(self) -> dict[str, object]:
        """Accuracy and tokens of the routed policy."""
        return self._entry(0)

    def baselines(self) -> dict[str, object]:
        """Policies without a router, and the routed policy's difference from each."""
        fixed = {
            f"fixed:{effort}": self._against(index)
            for index, effort in enumerate(self._efforts, self._fixed.start)
        }
        return {**fixed, "random": self._random(), "knn": self._against(1)}

    def controls(self) -> dict[str, object]:
        """Policies that know nothing of the prompt or of the outcomes, and the difference."""
        return {name: self._against(row) for row, name in enumerate(self._controls, 2)}

    def oracle(self) -> dict[str, object]:
        """The oracle at the policy's accuracy, mixed with fixed efforts where that is cheaper."""

        def accuracy(means: Means) -> float:
            best = means.subset(self._best)
            return min(float(means.accuracy[0]), float(best.accuracy.max()))

        def tokens(means: Means) -> float:
            return tokens_at(means.subset(self._best), float(means.accuracy[0]))

        return _entry(self._draws.interval(accuracy), self._draws.interval(tokens))

    def gap(self) -> dict[str, object]:
        """The share of the oracle's token saving that the policy reaches, at equal accuracy."""
        closed = self._draws.interval(
            lambda means: gap_closed(
                means.subset(slice(0, 1)), means.subset(self._fixed), means.subset(self._best)
            )
        )
        defined = np.isfinite(closed.value)
        return {
            "oracle_gap_closed": closed.value if defined else None,
            "oracle_gap_closed_ci": closed.bounds if defined else None,
        }

    def areas(self) -> dict[str, object]:
        """Areas under the frontiers of the router and of random mixing, and their difference."""

        def area_of(means: Means, policies: slice) -> float:
            return area(means.subset(policies), means.subset(self._fixed))

        intervals = {
            "policy": self._draws.interval(lambda means: area_of(means, self._frontier)),
            "random": self._draws.interval(lambda means: area_of(means, self._fixed)),
            "gain": self._draws.interval(
                lambda means: area_of(means, self._frontier) - area_of(means, self._fixed)
            ),
        }
        return {
            key: value
            for name, interval in intervals.items()
            for key, value in ((name, interval.value), (f"{name}_ci", interval.bounds))
        }

    def frontier(self) -> list[dict[str, float]]:
        """Accuracy and tokens of the policy at each price."""
        return [
            {
                "lambda": price,
                "accuracy": float(self._draws.means.accuracy[index]),
                "tokens": float(self._draws.means.tokens[index]),
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
        """A policy without a router, and the routed policy minus it."""
        return {
            **self._entry(index),
            **_difference(
                self._draws.interval(lambda m: float(m.accuracy[0] - m.accuracy[index])),
                self._draws.interval(lambda m: float(m.tokens[0] - m.tokens[index])),
            ),
        }

    def _random(self) -> dict[str, object]:
        """The best random mixture of fixed efforts that spends the policy's tokens."""

        def accuracy(means: Means) -> float:
            return accuracy_at(means.subset(self._fixed), float(means.tokens[0]))

        def tokens(means: Means) -> float:
            corners = means.subset(self._fixed).hull[0]
            return float(np.clip(means.tokens[0], corners[0], corners[-1]))

        return {
            **_entry(self._draws.interval(accuracy), self._draws.interval(tokens)),
            **_difference(
                self._draws.interval(lambda m: float(m.accuracy[0]) - accuracy(m)),
                self._draws.interval(lambda m: float(m.tokens[0]) - tokens(m)),
            ),
        }


def table(result: Mapping[str, Any]) -> str:
    """A replay as text: one row per policy, with the routed policy minus it, and intervals."""
    named = {
        "policy": result["policy"],
        **result["baselines"],
        **result["controls"],
        "oracle": result["oracle"],
    }
    width = max(map(len, named)) + 2
    heads = ("accuracy", "tokens", "policy minus it: accuracy", "policy minus it: tokens")
    lines = [" " * width + "".join(f"{head:<29}" for head in heads).rstrip()]
    for name, entry in named.items():
        cells = [with_interval(entry, "accuracy", 4), with_interval(entry, "tokens", 1)]
        if "policy_accuracy_minus" in entry:
            cells += [
                with_interval(entry, "policy_accuracy_minus", 4, "+"),
                with_interval(entry, "policy_tokens_minus", 1, "+"),
            ]
        lines.append(f"{name:<{width}}" + "".join(f"{cell:<29}" for cell in cells).rstrip())
    efforts = result["policy"]["efforts"]
    closed = "none to close"
    if result["oracle_gap_closed"] is not None:
        closed = with_interval(result, "oracle_gap_closed", 2)
    areas = {
        name: with_interval(result["area"], name, 4, "+" if name == "gain" else "")
        for name in ("policy", "random", "gain")
    }
    return "\n".join((
        *lines,
        "efforts: " + ", ".join(f"{effort} {share:.0%}" for effort, share in efforts.items()),
        f"share of the oracle's gap closed: {closed}",
        f"area under the frontier: {areas['policy']}, of random mixing {areas['random']}, "
        f"gain {areas['gain']}",
        *_difficulty(result["difficulty"]),
        f"{result['problems']} problems; {result['skipped']} rows or problems skipped; "
        f"{result['abstained']:.1%} abstained",
    ))  # fmt: skip


def _difficulty(entry: Mapping[str, Any]) -> Iterator[str]:
    """Lines with the AUC of the estimates, and by kind."""
    if entry["auc"] is not None:
        yield f"AUC of the difficulty: {with_interval(entry, 'auc', 3)}"
    for kind, part in entry["kinds"].items():
        outside = part["left_out"]
        cells = [
            f"{name} {with_interval(figures, 'auc', 3)}"
            for name, figures in (("of this router", part), ("of a fit without the kind", outside))
            if figures is not None and figures["auc"] is not None
        ]
        yield f"  kind {kind}, {part['problems']} problems: {', '.join(cells) or 'undefined'}"


def with_interval(entry: Mapping[str, Any], name: str, digits: int, sign: str = "") -> str:
    """A figure and the ends of its interval: 0.61 [0.58, 0.64]."""
    low, high = entry[f"{name}_ci"]
    form = f"{sign}.{digits}f"
    return f"{entry[name]:{form}} [{low:{form}}, {high:{form}}]"


def _entry(accuracy: Interval, tokens: Interval) -> dict[str, object]:
    return {
        "accuracy": accuracy.value,
        "tokens": tokens.value,
        "accuracy_ci": accuracy.bounds,
        "tokens_ci": tokens.bounds,
    }


def _difference(accuracy: Interval, tokens: Interval) -> dict[str, object]:
    return {
        "policy_accuracy_minus": accuracy.value,
        "policy_accuracy_minus_ci": accuracy.bounds,
        "policy_tokens_minus": tokens.value,
        "policy_tokens_minus_ci": tokens.bounds,
    }
