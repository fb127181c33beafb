"""The effort ladder: the levels of `reasoning_effort`, cheapest first.

A router may be fitted on other names too (logs that call their modes "direct" or "cot"), but only
these can be sent to an engine, and only these have a rank.
"""

from collections.abc import Sequence
from typing import Literal, TypeGuard, get_args

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

EFFORTS: tuple[Effort, ...] = get_args(Effort)
"""Every level, cheapest first: the values of OpenAI's `reasoning_effort`."""

_RANK: dict[str, int] = {effort: rank for rank, effort in enumerate(EFFORTS)}


def is_effort(name: str) -> TypeGuard[Effort]:
    """Whether a name is a level of the ladder."""
    return name in _RANK


def rank(effort: Effort) -> int:
    """Position on the ladder, 0 for `none`."""
    return _RANK[effort]


def nearest(effort: Effort, ladder: Sequence[Effort]) -> Effort:
    """The level of `ladder` closest to `effort`; ties go upward.

    A thinking level becomes `none` only where the ladder has nothing else; `none` becomes the
    lowest level. Raises ValueError for an empty ladder.
    """
    if not ladder:
        raise ValueError("a model must declare at least one effort")
    if effort in ladder:
        return effort
    if effort == "none":
        return min(ladder, key=rank)
    thinking: list[Effort] = [level for level in ladder if level != "none"] or list(ladder)
    return min(thinking, key=lambda level: (abs(rank(level) - rank(effort)), -rank(level)))
