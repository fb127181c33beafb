"""Which requests may have a composite effort, and the attempts of which it consists."""

from typing import cast

from router.composite import Composite
from router.effort import Effort
from router.router import Router
from server.api.request import ParsedRequest
from server.api_keys import Caller
from server.config.settings import Settings
from server.decide.budget import choose_budget, thinking_limit
from server.decide.conversations import Thread
from server.decide.decision import Decision


def may_be_composite(
    request: ParsedRequest,
    caller: Caller,
    settings: Settings,
    router: Router,
    thread: Thread | None,
) -> bool:
    """Whether a request may have a composite effort.

    Not with an effort or a budget of the client's, key's or server's, not in a conversation that
    has an effort already, and not with several choices, of which some could hit the budget.
    """
    return (
        settings.composites
        and router.artifact is not None
        and bool(router.artifact.composites)
        and request.effort is None
        and request.budget is None
        and not request.thinking.unlimited
        and request.n == 1
        and (thread is None or thread.previous is None)
        and thinking_limit(caller, settings)[0] is None
    )


def attempts(
    decision: Decision,
    request: ParsedRequest,
    caller: Caller,
    settings: Settings,
    context: int | None,
) -> Decision:
    """The decision for the initial attempt of a composite effort, with the final one's.

    Any other decision is returned as it is. Where the efforts of the model are budgets of one mode,
    a single attempt is the same: the final effort of `stop`, whose thinking goes on past the
    budget, or the initial effort of `cap`, whose thinking ends there with an answer.
    """
    composite = decision.composite
    if composite is None:
        return decision
    if settings.efforts_are_budgets and composite.kind == "cap":
        return decision._replace(reason=f"{decision.reason}. {_single(composite)}")
    effort = cast("Effort", composite.final)
    budget, source = choose_budget(request, caller, settings, effort, None, context)
    final = decision._replace(
        effort=effort,
        budget=budget,
        budget_source=source,
        effort_budget=settings.effort_budgets.get(effort),
        routed=effort,
    )
    if settings.efforts_are_budgets:
        return final._replace(reason=f"{decision.reason}. {_single(composite)}")
    reason = (
        f"{decision.reason}. {composite.name} is {composite.initial} with at most "
        f"{composite.budget:,} thinking tokens, then {composite.final} where it hits them"
    )
    return decision._replace(reason=reason, final=final._replace(reason=reason))


def _single(composite: Composite) -> str:
    effort = composite.dear
    return f"It is one attempt at {effort}, since the efforts are budgets of one mode"
