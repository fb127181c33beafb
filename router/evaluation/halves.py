"""Fixed efforts chosen on a half of the prompts and judged on the other, so not in hindsight."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from router.arrays import Array, Mask
from router.bootstrap import percentile_interval
from router.fitting.fixed_efforts import FixedEfforts, certify
from router.fitting.prompts import numbered

_SPLITS = 50


def halves(results: FixedEfforts, max_loss: float, delta: float) -> dict[str, object] | None:
    """Means over random halves, with the 95 % range over them; None from one cluster.

    `chosen`: how often each effort was recommended. `accuracy_loss`, `saved_share`: of that effort
    against the most accurate one, both chosen on the first half. `broken`: the share of halves that
    lose more than `max_loss`. `hindsight`: what the most accurate effort of the second half, chosen
    in hindsight, has more accuracy than that of the first.
    """
    if results.clusters < 2:
        return None
    chosen: Counter[str] = Counter()
    losses: list[float] = []
    saved: list[float] = []
    hindsight: list[float] = []
    for seed in range(_SPLITS):
        first, second = split(results, seed)
        best, effort = first.best, recommended(first, max_loss, delta)
        accuracy, tokens = second.accuracy.mean(axis=0), second.tokens.mean(axis=0)
        chosen[first.efforts[effort]] += 1
        losses.append(float(accuracy[best] - accuracy[effort]))
        saved.append(1 - float(tokens[effort] / tokens[best]) if tokens[best] else 0.0)
        hindsight.append(float(accuracy.max() - accuracy[best]))
    return {
        "splits": _SPLITS,
        "chosen": {effort: count / _SPLITS for effort, count in chosen.most_common()},
        "broken": float(np.mean(np.array(losses) > max_loss)),
        **_figures("accuracy_loss", losses),
        **_figures("saved_share", saved),
        **_figures("hindsight", hindsight),
    }


def kind_halves(
    kinds: Mapping[str, FixedEfforts], max_loss: float, delta: float
) -> dict[str, object] | None:
    """An effort per kind, chosen on the first halves, beside the same efforts dealt at random.

    On the second halves: accuracy and tokens of the efforts of the kinds, minus those of the same
    efforts, as often each, dealt to any prompts. None for fewer than two kinds.
    """
    if len(kinds) < 2 or any(results.clusters < 2 for results in kinds.values()):
        return None
    accuracy_gain: list[float] = []
    tokens_gain: list[float] = []
    efforts = next(iter(kinds.values())).efforts
    for seed in range(_SPLITS):
        parts = [split(results, seed) for results in kinds.values()]
        chosen = [first.efforts[recommended(first, max_loss, delta)] for first, _ in parts]
        sizes = np.array([len(second.accuracy) for _, second in parts])
        shares = np.array(
            [sizes[[name == effort for name in chosen]].sum() / sizes.sum() for effort in efforts]
        )
        for name, gains in (("accuracy", accuracy_gain), ("tokens", tokens_gain)):
            by_kind = np.stack([_means(second, efforts, name) for _, second in parts])
            own = sum(
                size * row[efforts.index(effort)]
                for size, row, effort in zip(sizes, by_kind, chosen, strict=True)
            )
            dealt = float((sizes @ by_kind) @ shares)
            gains.append((float(own) - dealt) / float(sizes.sum()))
    return {
        "splits": _SPLITS,
        **_figures("accuracy_minus_shuffled", accuracy_gain),
        **_figures("tokens_minus_shuffled", tokens_gain),
    }


def recommended(results: FixedEfforts, max_loss: float, delta: float) -> int:
    """The cheapest certified effort, or the most accurate one where that is cheaper."""
    certified = certify(results, max_loss, delta)
    return min(certified[0], results.best) if certified else results.best


def split(results: FixedEfforts, seed: int) -> tuple[FixedEfforts, FixedEfforts]:
    """Two random halves; the prompts of a cluster are in one of them."""
    order = np.random.default_rng(seed).permutation(results.clusters)
    is_first = np.isin(results.cluster, order[: results.clusters // 2])
    return _subset(results, is_first), _subset(results, ~is_first)


def _subset(results: FixedEfforts, rows: Mask) -> FixedEfforts:
    return replace(
        results,
        accuracy=results.accuracy[rows],
        tokens=results.tokens[rows],
        cluster=numbered(results.cluster[rows].tolist()),
        repeats=results.repeats[rows],
    )


def _means(results: FixedEfforts, efforts: Sequence[str], name: str) -> Array:
    """Mean accuracy or tokens (E,), in the order of `efforts`."""
    values = results.accuracy if name == "accuracy" else results.tokens
    return values.mean(axis=0)[[results.efforts.index(effort) for effort in efforts]]


def _figures(name: str, values: Sequence[float]) -> dict[str, object]:
    return {name: float(np.mean(values)), f"{name}_ci": percentile_interval(values)}
