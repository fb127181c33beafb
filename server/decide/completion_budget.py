"""The budget of a text completion, whose prompt may open a thought; nothing else is decided."""

from collections.abc import Mapping
from typing import Any

from server.api.fields import ends_within, integer
from server.api.thinking import requested_thinking, without_thinking
from server.engines.budget_support import BudgetSupport
from server.engines.dialect import COMPLETIONS, Dialect
from server.errors import BadRequest

_OBSTACLE = "this engine has no budget on a text completion; use /v1/chat/completions"


def apply_completion_budget(
    body: dict[str, Any],
    headers: Mapping[str, str],
    limit: int | None,
    support: BudgetSupport,
    dialect: Dialect,
) -> dict[str, Any]:
    """The body with the budget that it requests, or the lower one that is allowed.

    A body without either is returned as it is; a switch that turns thinking off is a budget of 0.

    Args:
        body: the client's.
        headers: the client's.
        limit: thinking tokens that key and server allow, None without a limit.
        support: how the engines enforce budgets.
        dialect: the engines' request fields.

    Raises:
        BadRequest: the budget is of a wrong type, or nothing would enforce it.
    """
    thinking = requested_thinking(body, headers)
    requested = 0 if thinking.effort == "none" else thinking.budget
    budgets = [budget for budget in (requested, limit) if budget is not None]
    if not budgets:
        return without_thinking(body) if thinking.unlimited else body
    budget = min(budgets)
    can_enforce = COMPLETIONS in dialect.budget_paths
    budget_to_send = support.budget_to_send(budget) if can_enforce else None
    if budget_to_send is not None:
        return {**without_thinking(body), "thinking_token_budget": budget_to_send}
    if requested is not None:
        field = thinking.budget_field
        raise BadRequest(f"{field} cannot be enforced: {_OBSTACLE}", field)
    max_tokens = integer(body, "max_tokens", minimum=0)
    if max_tokens is None or not ends_within(body, budget):
        raise BadRequest(
            f"at most {budget} thinking tokens are allowed here, which cannot be enforced: "
            f"{_OBSTACLE}, or set max_tokens to at most {budget}",
            "max_tokens",
        )
    return body
