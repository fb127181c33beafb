"""The sentences that explain an effort: what it and its rival should give, and why it won."""

from collections.abc import Sequence
from math import inf

from router.estimate import Estimate
from router.policy import OperatingPoint

_ALMOST_SURE = 0.9995
_SMALLEST_POINTS = 0.05
"""Of P(correct) in percent: less is told as "less than 0.1"."""


def why(
    estimate: Estimate, point: OperatingPoint, efforts: Sequence[str], baseline: str, chosen: str
) -> str:
    """The sentences for `chosen`, beside the likeliest of the other `efforts` to be right.

    Of those that are as likely but for less than is told, the baseline is the one.
    """
    p, tokens = estimate.p_correct, estimate.tokens
    limit = inf if point.dearer else tokens[baseline]
    rivals = [effort for effort in efforts if effort != chosen and tokens[effort] <= limit]
    if not rivals:
        if len(efforts) == 1:
            return _expectation(estimate, chosen)
        excluded = f"The other efforts would take more than the baseline {baseline}"
        return f"{_expectation(estimate, chosen)}. {excluded}"
    rival = max(rivals, key=lambda effort: (round(p[effort], 3), effort == baseline))
    beside = f"{rival} {_percent(p[rival])} with {_number(tokens[rival])}"
    comparison = _comparison(estimate, point, baseline, chosen, rival)
    return f"{_expectation(estimate, chosen)}, {beside}. {comparison}"


def _expectation(estimate: Estimate, effort: str) -> str:
    chance = _percent(estimate.p_correct[effort])
    return f"{effort} should be right {chance} of the time with {_count(estimate.tokens[effort])}"


def _comparison(
    estimate: Estimate, point: OperatingPoint, baseline: str, chosen: str, rival: str
) -> str:
    """What the dearer of the two efforts adds, and what the policy pays for that."""
    tokens = estimate.tokens
    cheap, dear = sorted((chosen, rival), key=lambda effort: tokens[effort])
    p_dear, p_cheap = estimate.p_correct[dear], estimate.p_correct[cheap]
    gain = _told_gain(p_dear, p_cheap)
    favour = point.margin * ((dear == baseline) - (cheap == baseline))
    added = p_dear - p_cheap + favour
    favoured = ""
    if favour:
        side = "in favour of" if favour > 0 else "taken off, in favour of"
        favoured = f" ({_points(gain)} expected, {_points(abs(favour))} {side} the baseline)"
    extra = round(tokens[dear]) - round(tokens[cheap])
    if added <= 0:
        return f"With {_number(extra)} more, {dear} adds nothing{favoured}"
    gained = f"{_points(gain + favour)}{favoured}"
    limit = 1000 * added / point.price if point.price else inf
    if limit == inf:
        return f"The policy puts no price on thinking, and {dear} adds {gained}"
    verb = "takes" if dear == chosen else "would take"
    if round(limit) == 0:
        return f"With {_number(extra)} more, {dear} adds too little, {gained}"
    limit = max(limit, extra) if dear == chosen else min(limit, extra)  # rounded, as the extra is
    return (
        f"The policy pays at most {_count(limit)} for the {_points(gain + favour)} that {dear} "
        f"adds{favoured}; it {verb} {_number(extra)} more"
    )


def _told_gain(dear: float, cheap: float) -> float:
    """The difference of two shares as they are told, so that it adds up."""
    if max(dear, cheap) > _ALMOST_SURE:
        return dear - cheap
    return round(dear, 3) - round(cheap, 3)


def _percent(share: float) -> str:
    return "over 99.9 %" if share > _ALMOST_SURE else f"{100 * share:.1f} %"


def _points(share: float) -> str:
    """Percentage points of P(correct)."""
    points = 100 * share
    if 0 <= points < _SMALLEST_POINTS:
        return "less than 0.1 points"
    return "1 point" if points == 1 else f"{points:.1f} points"


def _count(tokens: float) -> str:
    number = _number(tokens)
    return "1 thinking token" if number == "1" else f"{number} thinking tokens"


def _number(tokens: float) -> str:
    return f"{tokens:,.0f}"
