"""Tokens, seconds and money per conversation and per solved one, against those held out.

The unit is the root conversation, whose sub-agents belong to it, with all its requests however they
ended. Unlike savings per request, nothing is assumed of the number of turns: it is compared as
well. A conversation counts by the arm that it was drawn into.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from server.ledger.conversation_figures import (
    MEASURES,
    ConversationFigures,
    ConversationMoments,
    ConversationSample,
)
from server.savings.estimator import ENOUGH_HELD_OUT, Saving, estimate_population
from server.savings.ratio import Interval, Pair, pair, pair_of_sums
from server.savings.sample import Array, Population, Sample
from server.savings.studentized import quantiles, student_quantile

_EXAMPLES = 20_000
"""Treated conversations that are read one by one, and as many with feedback."""

_LEVEL = 0.975


@dataclass(frozen=True)
class ConversationEvidence:
    """What the figures are computed from; `examples` are treated conversations."""

    moments: Sequence[ConversationMoments]
    held_out: ConversationSample
    examples: ConversationSample
    scored_examples: ConversationSample

    @classmethod
    def gather(cls, figures: ConversationFigures) -> "ConversationEvidence":
        """Read it, of a connection's snapshot."""
        moments = figures.moments()
        treated = [
            moments_of_arm
            for moments_of_arm in moments
            if moments_of_arm.is_compared and moments_of_arm.arm == "treated"
        ]
        number = sum(moments_of_arm.number for moments_of_arm in treated)
        scored = sum(
            moments_of_arm.number for moments_of_arm in treated if moments_of_arm.is_scored
        )
        return cls(
            moments,
            figures.held_out(),
            figures.treated(_EXAMPLES, number),
            figures.treated(_EXAMPLES, scored, scored_only=True),
        )

    def of(self, arm: str, is_scored: bool | None = None) -> Sequence[ConversationMoments]:
        """The sums of an arm's compared conversations."""
        return [
            moments_of_arm
            for moments_of_arm in self.moments
            if moments_of_arm.is_compared
            and moments_of_arm.arm == arm
            and is_scored in (None, moments_of_arm.is_scored)
        ]

    def counts(self) -> dict[str, int]:
        """Conversations by arm; explicit where the client chose every effort."""
        counts: dict[str, int] = {}
        for moments_of_arm in self.moments:
            name = moments_of_arm.arm or "explicit"
            counts[name] = counts.get(name, 0) + moments_of_arm.number
        return dict(sorted(counts.items()))


def conversation_report(evidence: ConversationEvidence, has_prices: bool) -> dict[str, Any]:
    """The figures as one JSON object.

    `per_conversation` has per measure the means of treated conversations and what they would have
    been at the baseline effort; `per_solved` the same per solved conversation, of those with
    feedback. Both are null without conversations of an arm, and `pending` with too few held out.
    """
    measures = [name for name in MEASURES if has_prices or name != "money"]
    treated, held_sample = evidence.of("treated", True), evidence.of("holdout", True)
    is_scored = any(moments_of_arm.number for moments_of_arm in (*treated, *held_sample))
    return {
        "conversations": evidence.counts(),
        "mean": _means(evidence, measures),
        "total": _totals(evidence, measures),
        "per_conversation": {name: per_conversation(evidence, name) for name in measures},
        "solved": {"treated": _solved(treated), "holdout": _solved(held_sample)}
        if is_scored
        else None,
        "per_solved": {name: per_solved(evidence, name) for name in measures}
        if is_scored
        else None,
    }


def _totals(evidence: ConversationEvidence, measures: Sequence[str]) -> dict[str, float]:
    """Sums over all conversations, whatever their arm."""
    return {
        name: float(
            sum(moments_of_arm.sums[MEASURES.index(name)] for moments_of_arm in evidence.moments)
        )
        for name in measures
    }


def _means(evidence: ConversationEvidence, measures: Sequence[str]) -> dict[str, float] | None:
    number = sum(moments_of_arm.number for moments_of_arm in evidence.moments)
    totals = _totals(evidence, measures)
    return {name: total / number for name, total in totals.items()} if number else None


def per_conversation(evidence: ConversationEvidence, name: str) -> dict[str, Any]:
    """A measure per treated conversation, against the baseline effort."""
    at = MEASURES.index(name)
    treated, held_out = evidence.of("treated"), evidence.of("holdout")
    number = sum(moments_of_arm.number for moments_of_arm in treated)
    weight = sum(moments_of_arm.weight for moments_of_arm in (*treated, *held_out))
    saving: Saving = estimate_population(
        Population(
            requests=number,
            consumed=float(sum(moments_of_arm.sums[at] for moments_of_arm in treated)),
            known=number,
            known_sum=number,
            weight=weight,
            weight_predicted=weight,
            weight_squares=weight,
            weight_unknown=0.0,
            held_out=_sample(evidence.held_out, evidence.held_out.measures[:, at], False),
            examples=_sample(evidence.examples, evidence.examples.measures[:, at], True),
        )
    )
    moments_of_arm = max(number, 1)
    is_estimated = bool(number and saving.held_out_conversations)
    return {
        "pending": saving.pending,
        "taken": saving.consumed / number if number else None,
        "baseline": (saving.saved + saving.consumed) / moments_of_arm if is_estimated else None,
        "saved": saving.saved / moments_of_arm if is_estimated else None,
        "saved_ci": _finite(tuple(end / moments_of_arm for end in saving.interval)),
        "share": saving.share(saving.saved) if is_estimated else None,
        "share_ci": _finite(tuple(map(saving.share, saving.interval))),
        "conversations": number,
        "held_out_conversations": saving.held_out_conversations,
        "heavy_tail": saving.heavy_tail,
    }


def _sample(conversations: ConversationSample, outcomes: Array, is_treated: bool) -> Sample:
    """As a sample of the estimator, whose unit is then the conversation: nothing is predicted."""
    number = len(outcomes)
    return Sample(
        np.full(number, is_treated),
        np.arange(number),
        conversations.p_treated,
        conversations.p_holdout,
        outcomes,
        np.ones(number),
    )


def _solved(moments: Sequence[ConversationMoments]) -> dict[str, Any]:
    number = sum(moments_of_arm.number for moments_of_arm in moments)
    solved = sum(moments_of_arm.score for moments_of_arm in moments)
    return {
        "conversations": number,
        "solved": solved,
        "share": solved / number if number else None,
    }


def per_solved(evidence: ConversationEvidence, name: str) -> dict[str, Any]:
    """A measure per solved conversation, of those with feedback, against those held out."""
    at = MEASURES.index(name)
    treated_ratio = _treated_pair(evidence.of("treated", True), at)
    held_sample = evidence.held_out
    scored = np.isfinite(held_sample.score)
    weight = (held_sample.p_treated / held_sample.p_holdout)[scored]
    baseline = pair(held_sample.measures[scored, at], held_sample.score[scored], weight)
    number = int(scored.sum())
    result: dict[str, Any] = {
        "pending": True,
        "taken": treated_ratio.ratio,
        "taken_ci": _list(
            _symmetric(treated_ratio, sum(m.number for m in evidence.of("treated", True)))
        ),
        "baseline": baseline.ratio,
        "baseline_ci": None,
        "share": None,
        "share_ci": None,
        "held_out_conversations": number,
    }
    if treated_ratio.ratio is None or not number or not baseline.numerator:
        return result
    low, high = _quantiles(evidence.scored_examples, at, treated_ratio.ratio, number)
    result["baseline_ci"] = _list(baseline.interval(-high, -low))
    against = baseline.inverse().times(treated_ratio.ratio, treated_ratio.ratio_variance)
    kept, ends = against.ratio, against.interval(low, high)
    result["share"] = None if kept is None else 1 - kept
    if ends is not None:
        result["share_ci"] = [1 - ends[1], 1 - ends[0]]
        result["pending"] = number < ENOUGH_HELD_OUT or ends[1] - ends[0] > 1
    return result


def _treated_pair(moments: Sequence[ConversationMoments], at: int) -> Pair:
    return pair_of_sums(
        sum(moments_of_arm.number for moments_of_arm in moments),
        float(sum(moments_of_arm.sums[at] for moments_of_arm in moments)),
        sum(moments_of_arm.score for moments_of_arm in moments),
        float(sum(moments_of_arm.squares[at] for moments_of_arm in moments)),
        float(sum(moments_of_arm.products[at] for moments_of_arm in moments)),
        sum(moments_of_arm.score_squares for moments_of_arm in moments),
    )


def _quantiles(examples: ConversationSample, at: int, ratio: float, number: int) -> Interval:
    """Quantiles of cost minus what its solved conversations are worth, by the treated ones."""
    outcomes = examples.measures[:, at] - ratio * examples.score
    bounds = quantiles(_sample(examples, outcomes, True), 1.0, number)
    return bounds.low, bounds.high


def _symmetric(treated_ratio: Pair, number: int) -> Interval | None:
    quantile = student_quantile(_LEVEL, number - 1)
    return treated_ratio.interval(-quantile, quantile) if isfinite(quantile) else None


def _list(ends: Interval | None) -> list[float] | None:
    return None if ends is None else [*ends]


def _finite(ends: tuple[float, ...]) -> list[float] | None:
    return [*ends] if all(map(isfinite, ends)) else None


def conversation_lines(report: Mapping[str, Any]) -> list[str]:
    """The figures as lines of text."""
    counts = report["conversations"]
    if not counts:
        return []
    lines = ["conversations: " + ", ".join(f"{number:,} {arm}" for arm, number in counts.items())]
    for name, entry in report["per_conversation"].items():
        lines.append(f"  {name.replace('_', ' '):<16} {_saving(entry)}")
    if report["solved"] is None:
        return [*lines, "solved: no feedback yet (POST /v1/feedback with solved)"]
    lines.append("per solved conversation: " + ", ".join(map(_rate, report["solved"].items())))
    for name, entry in report["per_solved"].items():
        lines.append(f"  {name.replace('_', ' '):<16} {_saving(entry)}")
    return lines


def _rate(arm: tuple[str, Mapping[str, Any]]) -> str:
    name, entry = arm
    share = "" if entry["share"] is None else f" ({entry['share']:.1%})"
    return f"{entry['solved']:,.10g} of {entry['conversations']:,} {name}{share}"


def _saving(entry: Mapping[str, Any]) -> str:
    treated_mean, baseline = map(_amount, (entry["taken"], entry["baseline"]))
    figures = f"{treated_mean} against {baseline}"
    if entry["pending"]:
        return f"pending ({figures}; {entry['held_out_conversations']:,} held out)"
    low, high = entry["share_ci"]
    return f"{entry['share']:.1%} [{low:.1%}, {high:.1%}] saved: {figures}"


def _amount(number: float | None) -> str:
    if number is None:
        return "none"
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
