"""How thinking budgets bind on an engine, and what a decision may therefore promise."""

from dataclasses import dataclass, replace
from typing import Literal

from server.asked import Asked
from server.decision import Decision
from server.dialect import CHAT, MESSAGES, Dialect
from server.errors import BadRequest

How = Literal["native", "two-phase", "none"]


@dataclass(frozen=True)
class Binding:
    """What enforces a budget: the engine, the gateway in two phases, or nothing.

    `proven` tells whether the canary saw a budget bind; `offset` by how many thinking tokens an
    answer that was cut ends beyond the budget that the engine was told (an engine may count its
    transition sentence on top), or short of it (one may count a token of the prompt);
    `detail` says what was seen, in a sentence.
    """

    how: How
    proven: bool
    detail: str
    offset: int = 0

    @property
    def state(self) -> str:
        """The binding in a word or two: for `/ready`, logs and metrics."""
        return self.how if self.proven or self.how == "none" else f"{self.how}, unproven"

    @property
    def slack(self) -> int:
        """Thinking tokens by which an answer that was cut stays below its budget."""
        return max(0, -self.offset)

    def told(self, budget: int) -> int | None:
        """What to tell the engine so that a budget holds; None where it is too small for that.

        Where the transition sentence is counted on top it may take up to half of the budget.
        """
        beyond = max(0, self.offset)
        return budget - beyond if self.how == "native" and budget >= 2 * beyond else None


UNKNOWN = Binding("native", False, "the canary got no answer")
"""Trusted meanwhile: a probe that fails is no reason to refuse service."""


def bindable(
    decision: Decision, asked: Asked, binding: Binding, dialect: Dialect, path: str
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
    why, least = _obstacle(asked, binding, dialect, path)
    if why is None and budget >= least:
        if dialect.exclusive and not explicit:
            return _unbound(decision)
        return decision
    if not explicit:
        room = asked.max_tokens is None or asked.max_tokens > least
        if why is None and room:
            return replace(decision, budget=least, budget_source="limit")
        return _unbound(decision)
    if why is None:
        why = f"the least that this engine takes is {least} thinking tokens, not {budget}"
    raise BadRequest(f"{asked.budget_field} cannot be enforced: {why}", asked.budget_field)


def _obstacle(
    asked: Asked, binding: Binding, dialect: Dialect, path: str
) -> tuple[str | None, int]:
    """Why no budget can be enforced on this request, if so, and the least that can."""
    if path == CHAT:
        if binding.how == "none":
            return binding.detail, 0
        if binding.how == "two-phase" and asked.n > 1:
            return "a budget in two phases is for one choice; leave out n", 0
        return None, dialect.least_budget
    if path == MESSAGES and binding.how == "native" and dialect.budget is not None:
        return None, 1024
    return "this API has no budget on this engine; use /v1/chat/completions", 0


def _unbound(decision: Decision) -> Decision:
    return replace(decision, budget=None, budget_source="none")
