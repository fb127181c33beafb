"""What each effort does to an engine's thinking: statistics of replies to the same prompts.

Two efforts are compared by prompt, because prompts differ more than efforts do: by the ratio of
their thinking tokens, whose logarithms go into the signed-rank interval of `router.signed_rank`.
Thoughts are few and their lengths have heavy tails, so no mean and no variance is used. All claims
about an engine hold together with confidence 0.95 (Bonferroni, over the pairs of efforts).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Any, Literal

from router.effort import Effort, nearest, rank
from router.signed_rank import Shift, shift
from server.engines.effort_trial import Trial, Trials

SAME_RATIO = 1.2
"""Efforts do the same where the ratio of their thinking tokens is certainly within this factor."""

_ALPHA = 0.05
_MIN_EQUAL, _MIN_EQUAL_SHARE = 6, 0.75
"""Prompts whose replies must be equal, to the letter, to show that two efforts do the same: an
effort that changes the prompt changes greedy replies. Not all of them, since on llama.cpp a greedy
reply may change by itself once its prompt is cached, and on other engines with the batch."""

_MIN_COMPARABLE = 0.75
"""Share of the prompts that must tell something, for a claim that two efforts do the same."""

Verdict = Literal["works", "alias", "inverted", "not enough evidence"]
Relation = Literal["more", "less", "same", "unclear"]
Relations = Mapping[tuple[Effort, Effort], Relation]
"""How the second effort of a pair compares to the first, which is lower."""


@dataclass(frozen=True)
class LevelEffect:
    """What one effort does.

    Args:
        effort: the level.
        prompts: how many replies were measured.
        tokens: their median of thinking tokens; a lower bound where replies were cut.
        interval: of the median, with confidence 0.95; None where the prompts are too few.
        cut: how many replies ended at the limit while they thought.
        verdict: whether it is offered to a router, and why not.
        stand_in: the effort that a router gets instead, where it is not offered.
        ratio: its thinking tokens over those of the next lower effort that is offered.
        detail: the verdict, in a sentence.
    """

    effort: Effort
    prompts: int
    tokens: float
    interval: tuple[float, float] | None
    cut: int
    verdict: Verdict
    stand_in: Effort | None
    ratio: Shift | None
    detail: str

    def as_json(self) -> dict[str, Any]:
        """The object of `/ready` and of `tops audit --json`; bounds that are infinite are null."""
        return {
            "thinking_tokens": self.tokens,
            "interval": self.interval,
            "prompts": self.prompts,
            "cut": self.cut,
            "verdict": self.verdict,
            "stand_in": self.stand_in,
            "ratio": _finite(self.ratio.estimate) if self.ratio else None,
            "ratio_interval": [_finite(self.ratio.lower), _finite(self.ratio.upper)]
            if self.ratio
            else None,
            "detail": self.detail,
        }


@dataclass(frozen=True)
class EffortEffects:
    """What the efforts of an engine do; `counts_all` where its replies show no thoughts."""

    levels: tuple[LevelEffect, ...]
    counts_all: bool = False

    @property
    def withheld(self) -> dict[Effort, LevelEffect]:
        """The efforts that a router is not offered: they do not do what their names say."""
        return {level.effort: level for level in self.levels if level.stand_in}

    def as_json(self) -> dict[str, Any]:
        """An object by effort."""
        return {level.effort: level.as_json() for level in self.levels}


def effects(trials: Trials) -> EffortEffects:
    """The effects of efforts, from their replies to the same prompts."""
    efforts: list[Effort] = sorted(trials, key=rank)
    thoughts = [trial.thinking for replies in trials.values() for trial in replies.values()]
    counts_all = None in thoughts or not any(thoughts)
    comparisons: dict[tuple[Effort, Effort], tuple[Relation, Shift]] = {
        (low, high): compare(trials[low], trials[high], _alpha(len(efforts)), counts_all)
        for low, high in combinations(efforts, 2)
    }
    relations: Relations = {pair: relation for pair, (relation, _) in comparisons.items()}
    medians: dict[Effort, float] = {
        effort: _median([_tokens(trial, counts_all) for trial in trials[effort].values()])
        for effort in efforts
    }
    alias = _aliases(efforts, relations, 0 if counts_all else medians.get("none", 0))
    distinct: list[Effort] = [effort for effort in efforts if effort not in alias]
    offered = _ascending(distinct, relations, medians)
    levels: list[LevelEffect] = []
    for effort in efforts:
        lower: list[Effort] = [level for level in offered if rank(level) < rank(effort)]
        below = lower[-1] if lower else None
        ratio = None if below is None else comparisons[below, effort][1]
        verdict, stand_in, detail = _verdict(
            effort, below, alias, offered, distinct, relations, "writes" if counts_all else "thinks"
        )
        levels.append(
            LevelEffect(
                effort,
                len(trials[effort]),
                medians[effort],
                _median_interval([_tokens(t, counts_all) for t in trials[effort].values()]),
                sum(_is_cut(trial, counts_all) for trial in trials[effort].values()),
                verdict,
                stand_in,
                ratio,
                detail,
            )
        )
    return EffortEffects(tuple(levels), counts_all)


def compare(
    low: Mapping[str, Trial], high: Mapping[str, Trial], alpha: float, counts_all: bool = False
) -> tuple[Relation, Shift]:
    """How the thinking at one effort compares to that at a lower one, and the ratio of both.

    Each of the three claims fails with probability `alpha` at most. Prompts at which both thought
    up to the limit, or neither thought, tell nothing of the ratio.
    """
    common = [(low[prompt], high[prompt]) for prompt in low if prompt in high]
    differences: list[tuple[float, float]] = []
    for lower, higher in common:
        counts = _tokens(lower, counts_all), _tokens(higher, counts_all)
        cuts = _is_cut(lower, counts_all), _is_cut(higher, counts_all)
        if lower.digest == higher.digest:
            differences.append((0.0, 0.0))
        elif not all(cuts) and any(counts):
            ratio = math.log1p(counts[1]) - math.log1p(counts[0])
            differences.append((-math.inf if cuts[0] else ratio, math.inf if cuts[1] else ratio))
    logarithms = shift(differences, alpha)
    ratio = Shift(*map(math.exp, logarithms))
    margin = math.log(SAME_RATIO)
    equal = [lower.digest == higher.digest for lower, higher in common]
    if sum(equal) >= max(_MIN_EQUAL, _MIN_EQUAL_SHARE * len(equal)):
        return "same", ratio
    if logarithms.lower > 0:
        return "more", ratio
    if logarithms.upper < 0:
        return "less", ratio
    comparable = len(differences) >= _MIN_COMPARABLE * len(common)
    if comparable and logarithms.lower >= -margin and logarithms.upper <= margin:
        return "same", ratio
    return "unclear", ratio


def prompts_needed(efforts: int) -> int:
    """Prompts with which a clear order of so many efforts can be shown, one of them spoilt."""
    return max(_MIN_EQUAL, math.ceil(-math.log2(_alpha(efforts)))) + 1


def _alpha(efforts: int) -> float:
    return _ALPHA / max(math.comb(efforts, 2), 1)


def _aliases(
    efforts: Sequence[Effort],
    relations: Relations,
    thinking_off: float,
) -> dict[Effort, Effort]:
    """The efforts that do the same as another, which stands for them: the lowest.

    `thinking_off` is the median of thinking tokens at `none`. Where there are some, it is `none`
    that does not do what it says, and it stands for no other.
    """
    groups: list[list[Effort]] = []
    for effort in efforts:
        for group in groups:
            if relations[group[0], effort] == "same":
                group.append(effort)
                break
        else:
            groups.append([effort])
    alias: dict[Effort, Effort] = {}
    for group in groups:
        thinks = group[0] == "none" and len(group) > 1 and thinking_off > 0
        stand_in = group[1] if thinks else group[0]
        alias |= {effort: stand_in for effort in group if effort != stand_in}
    return alias


def _ascending(
    efforts: Sequence[Effort],
    relations: Relations,
    medians: Mapping[Effort, float],
) -> tuple[Effort, ...]:
    """As many efforts as possible of which none thinks less than a lower one.

    Of several choices, the one that thinks most: to think too little is the worse error.
    """
    choices = [
        choice
        for size in range(len(efforts), 0, -1)
        for choice in combinations(efforts, size)
        if all(relations[pair] != "less" for pair in combinations(choice, 2))
    ]
    return max(choices, key=lambda choice: (len(choice), sum(medians[level] for level in choice)))


def _verdict(
    effort: Effort,
    below: Effort | None,
    alias: Mapping[Effort, Effort],
    offered: Sequence[Effort],
    distinct: Sequence[Effort],
    relations: Relations,
    verb: str,
) -> tuple[Verdict, Effort | None, str]:
    if effort in offered:
        if below is None:
            return "works", None, f"{effort} is the lowest effort"
        if relations[below, effort] == "more":
            return "works", None, f"{effort} {verb} more than {below}"
        detail = f"whether {effort} {verb} more than {below} is not clear from these prompts"
        return "not enough evidence", None, detail
    same = alias.get(effort)
    stand_in = nearest(same or effort, offered)
    if same is not None:
        name = (
            "none does not switch thinking off: it"
            if effort == "none" and verb == "thinks"
            else effort
        )
        return "alias", stand_in, f"{name} does the same as {same}"
    lower = [level for level in distinct if relations.get((level, effort)) == "less"]
    if lower and lower[0] in offered:
        return "inverted", stand_in, f"{effort} {verb} less than {lower[0]}"
    higher = [level for level in offered if relations.get((effort, level)) == "less"]
    return "inverted", stand_in, f"{effort} {verb} more than {(higher or offered)[0]}"


def _tokens(trial: Trial, counts_all: bool) -> int:
    return trial.completion if counts_all or trial.thinking is None else trial.thinking


def _is_cut(trial: Trial, counts_all: bool) -> bool:
    """Whether it thought up to the limit, so that its count is a lower bound."""
    return trial.cut and (counts_all or not trial.answered)


def _median(counts: Sequence[int]) -> float:
    return median(counts) if counts else 0


def _median_interval(counts: Sequence[int]) -> tuple[float, float] | None:
    """Between two order statistics; exact for any distribution."""
    ordered, below = sorted(counts), 0.0
    for position in range(len(ordered) // 2):
        below += math.comb(len(ordered), position) / 2 ** len(ordered)
        if below > _ALPHA / 2:
            return None if position == 0 else (ordered[position - 1], ordered[-position])
    return None


def _finite(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
