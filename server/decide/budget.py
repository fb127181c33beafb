"""The thinking-token budget that goes with an effort.

A budget from the client counts as it is, down to that of the effort and to the limits of its key
and of the server. Any other is the router's, and leaves `max_tokens` and the context room for the
answer.
"""

from collections.abc import Sequence

from router.effort import Effort, nearest, rank
from router.messages import Conversation
from server.api.request import ParsedRequest
from server.api_keys import Caller
from server.config.settings import Settings
from server.decide.decision import BudgetSource
from server.errors import BadRequest

_CHARACTERS_PER_TOKEN = 3
"""Below what tokenizers reach on prose, so that a prompt is over- rather than underestimated."""

_MIN_ROOM_DIVISOR = 8
"""However long a prompt is estimated, an eighth of the context remains for thinking."""

Budget = tuple[int | None, BudgetSource]
"""Thinking tokens, None for no bound, and where the bound comes from."""


def choose_budget(
    request: ParsedRequest,
    caller: Caller,
    settings: Settings,
    effort: Effort,
    expected: int | None,
    context: int | None,
) -> Budget:
    """The budget for a request at its effort.

    Args:
        request: the parsed request.
        caller: whose limit holds.
        settings: those of the gateway: its limit, and the reserve for the answer.
        effort: the decision's.
        expected: the router's budget in thinking tokens, None where it has none.
        context: the model's context in tokens, None where it is not known.

    Raises:
        BadRequest: the client's budget is larger than the context.
    """
    if effort == "none":
        return 0, "effort"
    if request.thinking.unlimited:
        budget: Budget = None, "none"
    elif request.budget is None:
        budget = lower(expected, "router", _room(request, settings, context), "limit")
    elif context is not None and request.budget > context:
        raise BadRequest(
            f"{request.budget_field} {request.budget} is more than the model's context of "
            f"{context} tokens",
            request.budget_field,
        )
    else:
        budget = request.budget, "request"
    budget = lower(*budget, settings.effort_budgets.get(effort), "effort")
    return lower(*budget, *thinking_limit(caller, settings))


def thinking_limit(caller: Caller, settings: Settings) -> Budget:
    """The largest budget that key and server allow, whatever is requested.

    A key's effort cap is a limit where the highest effort below it has a budget.
    """
    if caller.effort_cap == "none":
        return 0, "key"
    limit = caller.max_budget
    if caller.effort_cap is not None and settings.effort_budgets:
        highest = _highest(caller.effort_cap, settings.offered_efforts)
        limit, _ = lower(limit, "key", settings.effort_budgets.get(highest), "key")
    return lower(limit, "key", settings.max_budget, "limit")


def _highest(cap: Effort, ladder: Sequence[Effort]) -> Effort:
    """The highest effort of a ladder that a cap allows; the one nearest to it if none is."""
    below: list[Effort] = [effort for effort in ladder if rank(effort) <= rank(cap)]
    return below[-1] if below else nearest(cap, ladder)


def lower(
    budget: int | None, source: BudgetSource, limit: int | None, limit_source: BudgetSource
) -> Budget:
    """The lower of a budget and a limit, with its source; None is no bound."""
    if limit is not None and (budget is None or limit < budget):
        return limit, limit_source
    return budget, source if budget is not None else "none"


def _room(request: ParsedRequest, settings: Settings, context: int | None) -> int | None:
    """Thinking tokens that leave the answer its reserve; None where no length is bounded."""
    bounds: list[int] = []
    if request.max_tokens is not None:
        bounds.append(request.max_tokens)
    if context is not None:
        remaining = context - _prompt_tokens(request.conversation)
        bounds.append(max(remaining, context // _MIN_ROOM_DIVISOR))
    if not bounds:
        return None
    completion = min(bounds)
    return completion - answer_reserve(settings.answer_reserve, completion)


def answer_reserve(reserve: int, completion: int | None) -> int:
    """The tokens of a completion that are reserved for the answer: at most half of them."""
    return reserve if completion is None else min(reserve, -(-completion // 2))


def _prompt_tokens(conversation: Conversation) -> int:
    """An estimate of the prompt's tokens from its characters."""
    return sum(len(turn.text) for turn in conversation.turns) // _CHARACTERS_PER_TOKEN
