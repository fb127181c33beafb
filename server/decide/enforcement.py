"""Which budget of a decision can be held on the engines that there are."""

from server.api.messages import LEAST_BUDGET
from server.api.request import ParsedRequest
from server.decide.decision import Decision
from server.engines.budget_support import BudgetSupport
from server.engines.dialect import CHAT, MESSAGES, Dialect
from server.errors import BadRequest


def check_budget(
    decision: Decision, asked: ParsedRequest, binding: BudgetSupport, dialect: Dialect, path: str
) -> Decision:
    """The decision with a budget that can be held; one that the gateway chose may be given up.

    Raises:
        BadRequest: the client asked for a budget that nothing here would enforce.
    """
    budget = decision.budget
    if budget is None or decision.effort == "none":
        return decision
    explicit = asked.budget is not None
    if dialect.exclusive and asked.effort is not None and explicit:
        raise BadRequest(
            f"this engine takes an effort or a budget, not both: leave out {asked.budget_field}",
            asked.budget_field,
        )
    why, least = _obstacle(asked, budget, binding, dialect, path)
    if why is None and budget >= least:
        if dialect.exclusive and not explicit:
            return _unbound(decision)
        return decision
    if not explicit:
        room = asked.max_tokens is None or asked.max_tokens > least
        if why is None and room:
            return decision._replace(budget=least, budget_source="limit")
        return _unbound(decision)
    if why is None:
        why = f"the least that this engine takes is {least} thinking tokens, not {budget}"
    raise BadRequest(f"{asked.budget_field} cannot be enforced: {why}", asked.budget_field)


def _obstacle(
    asked: ParsedRequest, budget: int, binding: BudgetSupport, dialect: Dialect, path: str
) -> tuple[str | None, int]:
    """Why no budget can be enforced on this request, if so, and the least that can.

    What an engine counts on top of a budget comes on top of the least that it takes.
    """
    if path == CHAT:
        if binding.mode == "none":
            return binding.detail, 0
        if asked.n > 1 and binding.budget_to_send(budget) is None:
            return "a budget in two phases is for one choice; leave out n", 0
        return None, dialect.min_budget and dialect.min_budget + binding.overshoot
    if path == MESSAGES and binding.mode == "native" and dialect.budget is not None:
        return None, LEAST_BUDGET + binding.overshoot
    return "this API has no budget on this engine; use /v1/chat/completions", 0


def _unbound(decision: Decision) -> Decision:
    return decision._replace(budget=None, budget_source="none")
