"""Checks whether the engines can enforce a decision's budget."""

from server.api.messages import MIN_BUDGET
from server.api.request import ParsedRequest
from server.decide.decision import Decision
from server.engines.budget_support import BudgetSupport
from server.engines.dialect import CHAT, MESSAGES, Dialect
from server.errors import BadRequest


def check_budget(
    decision: Decision,
    request: ParsedRequest,
    support: BudgetSupport,
    dialect: Dialect,
    path: str,
) -> Decision:
    """The decision with a budget that is enforced.

    A budget that the gateway chose is raised to the smallest that the engine takes, or dropped
    where none can be enforced. A budget that the client requested is kept or refused.

    Args:
        decision: the decision for the request.
        request: the parsed request.
        support: how the engines enforce budgets.
        dialect: the engines' request fields.
        path: the API's, one of `server.engines.dialect`'s.

    Raises:
        BadRequest: nothing would enforce the budget that the client requested.
    """
    budget = decision.budget
    if budget is None or decision.effort == "none":
        return decision
    explicit = request.budget is not None
    if dialect.exclusive and request.effort is not None and explicit:
        raise BadRequest(
            f"this engine takes an effort or a budget, not both: leave out {request.budget_field}",
            request.budget_field,
        )
    obstacle, minimum = _obstacle(request, budget, support, dialect, path)
    if obstacle is None and budget >= minimum:
        if dialect.exclusive and not explicit:
            return _without_budget(decision)
        return decision
    if not explicit:
        answer_fits = request.max_tokens is None or request.max_tokens > minimum
        if obstacle is None and answer_fits:
            return decision._replace(budget=minimum, budget_source="limit")
        return _without_budget(decision)
    if obstacle is None:
        obstacle = f"this engine takes at least {minimum} thinking tokens, not {budget}"
    raise BadRequest(f"{request.budget_field} cannot be enforced: {obstacle}", request.budget_field)


def _obstacle(
    request: ParsedRequest, budget: int, support: BudgetSupport, dialect: Dialect, path: str
) -> tuple[str | None, int]:
    """Why no budget can be enforced on this request, or None, and the smallest that can.

    Tokens that an engine counts on top of a budget are added to the smallest that its API takes.
    """
    if path == CHAT:
        if support.mode == "none":
            return support.detail, 0
        if request.n > 1 and support.budget_to_send(budget) is None:
            return "a budget in two phases is for one choice; leave out n", 0
        return None, dialect.min_budget and dialect.min_budget + support.overshoot
    if path == MESSAGES and support.mode == "native" and dialect.budget is not None:
        return None, MIN_BUDGET + support.overshoot
    return "this API has no budget on this engine; use /v1/chat/completions", 0


def _without_budget(decision: Decision) -> Decision:
    return decision._replace(budget=None, budget_source="none")
