"""The effort of a request and how it came about: asked for, routed, pinned or drawn."""

from collections.abc import Sequence
from typing import NamedTuple, cast

from router.conversation import carry
from router.effort import EFFORTS, Effort, nearest, rank
from router.pressure import lowered
from router.router import Route
from server.api.request import ParsedRequest
from server.api_keys import Caller
from server.decide.decision import Source
from server.decide.holdout import Draw
from server.decide.withheld_efforts import Withheld


class Choice(NamedTuple):
    """An effort and how it came about; the fields are those of Decision."""

    effort: Effort
    source: Source
    reason: str
    draw: Draw | None = None
    routed: Effort | None = None
    pinned: bool = False


def treated_choice(request: ParsedRequest, previous: Effort | None, route: Route) -> Choice:
    """The choice of the arm treated: the router's, unless an earlier turn pins it."""
    source: Source = "fallback" if route.abstained else "router"
    carried = carry(request.conversation, previous, route.effort, EFFORTS)
    effort = cast("Effort", carried.effort)
    if route.composite is not None:
        effort = cast("Effort", route.composite.initial)
    if carried.pinned:
        return Choice(effort, "pinned", carried.reason, routed=effort, pinned=True)
    return Choice(effort, source, route.reason, routed=effort)


def expected_budget(choice: Choice, route: Route, pressure: float) -> int | None:
    """The router's budget, in thinking tokens; None where it has none, or as without a router."""
    if choice.source == "holdout":
        return None
    if route.composite is not None and choice.source == "router":
        return route.composite.budget
    expected = route.estimate.budget.get(choice.effort) if route.estimate else None
    return expected if choice.source == "request" else lowered(expected, pressure)


def explicit_choice(
    effort: Effort, caller: Caller, allowed: Sequence[Effort], withheld: Withheld
) -> Choice:
    """The choice for a requested effort, within the key's limits and the model's efforts.

    It may be one that is not offered to the router; the reason then says what it does.
    """
    within = limited(effort, caller)
    granted = nearest(within, allowed)
    effect = f"; by measurement, {withheld[granted].detail}" if granted in withheld else ""
    if within != effort:
        reason = f"the request asks for {effort}; its key '{caller.name}' limits it to {granted}"
        return Choice(granted, "key", reason + effect)
    if granted != effort:
        reason = f"the request asks for {effort}; the nearest effort of the model is {granted}"
        return Choice(granted, "request", reason + effect)
    return Choice(granted, "request", f"the request asks for {effort}{effect}")


def limited(effort: Effort, caller: Caller) -> Effort:
    """The effort within the key's floor and cap."""
    if caller.effort_cap and rank(effort) > rank(caller.effort_cap):
        return caller.effort_cap
    if caller.effort_floor and rank(effort) < rank(caller.effort_floor):
        return caller.effort_floor
    return effort
