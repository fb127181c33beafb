"""Requests and thinking tokens over time, by effort, and what the baseline should have taken."""

from collections import Counter
from typing import Any

from server.ledger.totals import Totals

DIMENSIONS = ("effort", "arm", "status")
SUMS = ("requests", "thinking_tokens", "budget_hits", "predicted", "predicted_tokens")


def timeline(totals: Totals, begin: float, width: int, now: float) -> dict[str, Any]:
    """Bins of so many seconds from `begin` to `now`, of the accepted requests of totals by SUMS.

    `baseline_tokens` are the thinking tokens that the bin's requests were expected to take without
    the router: those that it decided as predicted for the baseline, and the others as they were.
    Requests that it decided without a prediction count with their effort's mean.
    """
    number = int((now - begin) // width) + 1
    efforts = [Counter[str]() for _ in range(number)]
    tokens = [Counter[str]() for _ in range(number)]
    hits, baseline = [0.0] * number, [0.0] * number
    sums = totals.columns
    names = ("slot", *DIMENSIONS, *SUMS)
    for slot, effort, arm, status, requests, thinking, ended, predicted, expected in zip(
        *(sums[name].tolist() for name in names), strict=True
    ):
        place = int((slot - begin) // width)
        if not 0 <= place < number:
            continue
        efforts[place][effort] += round(requests)
        tokens[place][effort] += round(thinking)
        hits[place] += ended
        if arm == "treated" and status == 200:
            baseline[place] += expected + thinking * (1 - predicted / requests)
        else:
            baseline[place] += thinking
    return {
        "begin": begin,
        "bin_seconds": width,
        "efforts": [dict(counter) for counter in efforts],
        "tokens": [dict(counter) for counter in tokens],
        "thinking_tokens": [counter.total() for counter in tokens],
        "baseline_tokens": [round(expected) for expected in baseline],
        "budget_hits": [round(count) for count in hits],
    }
