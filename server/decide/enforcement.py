"""Whether the engines can enforce a budget on a request, and what happens where they cannot."""

import math
from typing import NamedTuple

from server.api.fields import ends_within
from server.api.prefill import prefill_field
from server.api.request import ParsedRequest
from server.api.template_variables import unknown_switch
from server.decide.decision import Decision
from server.engines.budget_support import BudgetSupport
from server.engines.dialect import CHAT, MESSAGES, Dialect
from server.errors import BadRequest

_MIN_ANSWER_TOKENS = 32
"""Of `max_tokens`, beside a budget that is raised to the smallest that an engine takes."""


class Enforcement(NamedTuple):
    """The engines' enforcement of budgets, in thinking tokens, on one request.

    Attributes:
        request: the parsed request.
        support: how the engines enforce budgets.
        dialect: the engines' request fields.
        path: the API's, one of `server.engines.dialect`'s.
    """

    request: ParsedRequest
    support: BudgetSupport
    dialect: Dialect
    path: str

    def takes(self, budget: int) -> bool:
        """Whether the engines can be made to keep a budget, or the smallest that they take."""
        return self._obstacle(budget)[0] is None

    def keeps(self, budget: int) -> bool:
        """Whether they are proven to keep a budget that the gateway chose, and to report it."""
        obstacle, minimum = self._obstacle(budget)
        is_proven = self.support.proven and not self.dialect.exclusive
        return is_proven and obstacle is None and budget >= minimum

    def check(self, decision: Decision) -> Decision:
        """The decision with a budget that is enforced.

        A budget that the gateway chose is raised to the smallest that the engine takes, or dropped
        where none can be enforced. A budget that the client requested is kept or refused, and so is
        one that an API key or the server limits, or that makes the effort which the client
        requested.

        Raises:
            BadRequest: nothing would enforce the budget that the client requested, that of the
                effort that it requested, or the limit.
        """
        request, support, dialect = self.request, self.support, self.dialect
        if decision.final is not None:
            decision = decision._replace(final=self.check(decision.final))
        budget, limit = decision.budget, decision.budget_limit
        if budget is None:
            return decision
        if decision.effort == "none" and limit is None:
            return decision._replace(sends_budget=False)
        explicit = request.budget is not None
        if dialect.exclusive and request.effort is not None and explicit:
            raise BadRequest(
                "this engine takes an effort or a budget, not both: leave out "
                f"{request.budget_field}",
                request.budget_field,
            )
        obstacle, minimum = self._obstacle(budget)
        enforced = obstacle is None and budget >= minimum
        if limit is not None:
            is_native = enforced and support.budget_to_send(budget) is not None
            if not (is_native and dialect.bounds_opened):
                _check_prefill(request, limit)
            if decision.effort == "none" and not is_native:
                _check_switch(request, limit)
            if decision.effort == "none":
                return decision._replace(sends_budget=enforced)
        if enforced:
            is_free = not explicit and limit is None and decision.effort_budget is None
            dropped = dialect.exclusive and is_free
            return _without_budget(decision) if dropped else decision
        if obstacle is None:
            is_requested = explicit and request.budget == budget
            if not is_requested and minimum <= _largest_budget(request, limit):
                return decision._replace(budget=minimum, budget_source="limit")
            obstacle = f"this engine takes at least {minimum} thinking tokens, not {budget}"
        return _unenforced(decision, request, obstacle)

    def _obstacle(self, budget: int) -> tuple[str | None, int]:
        """Why no budget can be enforced on this request, or None, and the smallest that can.

        Tokens that an engine counts on top of a budget are added to the smallest that its API has.
        """
        request, support, dialect, path = self
        if path == CHAT:
            if support.mode == "none":
                return support.detail, 0
            if request.n > 1 and support.budget_to_send(budget) is None:
                return "a budget in two phases is for one choice; leave out n", 0
            return None, dialect.min_budget and dialect.min_budget + support.overshoot
        if path in dialect.budget_paths and support.mode == "native" and dialect.budget is not None:
            minimum = dialect.min_message_budget if path == MESSAGES else dialect.min_budget
            if minimum == 0 and budget > 0:  # 0 switches thinking off
                return None, 2 * support.overshoot
            return None, minimum and minimum + support.overshoot
        return "this API has no budget on this engine; use /v1/chat/completions", 0


def _unenforced(decision: Decision, request: ParsedRequest, obstacle: str) -> Decision:
    """The decision without its budget, which an obstacle keeps from being enforced.

    Raises:
        BadRequest: see `Enforcement.check`.
    """
    limit = decision.budget_limit
    if request.budget is not None and request.budget == decision.budget:
        raise BadRequest(
            f"{request.budget_field} cannot be enforced: {obstacle}", request.budget_field
        )
    if limit is None or _is_shorter(request, limit):
        _check_effort(decision, request, obstacle)
        return _without_budget(decision)
    raise BadRequest(
        f"at most {limit} thinking tokens are allowed here, which cannot be enforced: {obstacle}, "
        "or request the effort 'none'"
    )


def _check_effort(decision: Decision, request: ParsedRequest, obstacle: str) -> None:
    """Refuse an effort of the client's that is a budget which nothing would enforce."""
    budget = decision.effort_budget
    if budget is None or request.effort is None or _is_shorter(request, budget):
        return
    raise BadRequest(
        f"effort '{decision.effort}' is a budget of {budget} thinking tokens here, which cannot be "
        f"enforced: {obstacle}, or leave the effort out"
    )


def _largest_budget(request: ParsedRequest, limit: int | None) -> float:
    """Thinking tokens that are allowed, and leave `max_tokens` room for an answer."""
    room = math.inf if request.max_tokens is None else request.max_tokens - _MIN_ANSWER_TOKENS
    return room if limit is None else min(limit, room)


def _check_prefill(request: ParsedRequest, limit: int) -> None:
    """Refuse a beginning of the answer by the client, in which a thought would have no limit."""
    field = prefill_field(request)
    if field is not None and not _is_shorter(request, limit):
        raise BadRequest(
            f"{field} begins the answer, where a thought could exceed the {limit} thinking tokens "
            "that are allowed here: leave it out",
            field,
        )


def _check_switch(request: ParsedRequest, limit: int) -> None:
    """Refuse a variable that may switch thinking on where no budget would end it."""
    field = unknown_switch(request.body)
    if field is not None and not _is_shorter(request, limit):
        raise BadRequest(
            f"{field} may switch thinking on, beyond the {limit} thinking tokens that are allowed "
            "here: leave it out",
            field,
        )


def _is_shorter(request: ParsedRequest, limit: int) -> bool:
    """Whether no answer to the request can exceed the limit."""
    return request.max_tokens is not None and ends_within(request.body, limit)


def _without_budget(decision: Decision) -> Decision:
    return decision._replace(budget=None, budget_source="none")
