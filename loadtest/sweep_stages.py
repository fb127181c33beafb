"""The stages of a sweep, read from its records, and the rate at which the server saturates."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from loadtest.intervals import Interval
from loadtest.plan import Plan
from loadtest.record import Record
from loadtest.summary import goodput, summarise

_MIN_SHARE = 0.9
"""With fewer requests within the SLO, in any arm, the server is saturated."""


@dataclass(frozen=True)
class Stage:
    """The requests of one arm at one rate; `rate` is that of all arms together, per second."""

    rate: float
    arm: str
    summary: dict[str, Any]
    within_slo: Interval

    @property
    def is_saturated(self) -> bool:
        return self.within_slo.value < _MIN_SHARE


def read_stages(plan: Plan, records: Sequence[Record]) -> list[Stage]:
    """The stages of a sweep by rate and arm; none where the records are of no sweep."""
    by_rate: dict[float, list[Record]] = {}
    for record in records:
        if record.offered_rate is not None:
            by_rate.setdefault(record.offered_rate, []).append(record)
    return [
        Stage(
            rate,
            arm.name,
            summarise(stage_records, arm.name),
            goodput(plan.slo, stage_records, arm.name)[0],
        )
        for rate, stage_records in sorted(by_rate.items())
        for arm in plan.arms
        if plan.slo
    ]


def saturation(stages: Sequence[Stage]) -> str:
    """Between which rates the server saturates, as a sentence."""
    rates = {stage.rate for stage in stages}
    saturated = {stage.rate for stage in stages if stage.is_saturated}
    low = max((rate for rate in rates if rate < min(saturated, default=inf)), default=0.0)
    reason = f"fewer than {_MIN_SHARE:.0%} of requests within the SLO".replace("%", " %")
    if not saturated:
        return f"not saturated at {low:.4g} requests/s, the highest rate that was tried"
    if not low:
        return f"saturated at {min(saturated):.4g} requests/s ({reason}): set a lower rate"
    return f"saturates between {low:.4g} and {min(saturated):.4g} requests/s ({reason})"
