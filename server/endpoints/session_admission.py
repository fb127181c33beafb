"""A request within the budget of its session: admitted, lowered, or with what thinking is left."""

from collections.abc import Callable
from dataclasses import replace

from router.conversation import in_tool_loop, loop_turn
from server.api.request import ParsedRequest
from server.api_keys import Caller
from server.decide.conversations import Thread
from server.decide.decision import Decision
from server.decide.enforcement import Enforcement
from server.endpoints.admission import need
from server.limits.session_budgets import SessionBudgets, SessionCharge

Decide = Callable[[Caller], Decision]


async def admit_to_session(
    sessions: SessionBudgets | None,
    caller: Caller,
    thread: Thread,
    decide: Callable[[SessionCharge | None], Decision],
) -> tuple[Decision, SessionCharge | None]:
    """The decision, and what the session was charged; None where it has no budget.

    Args:
        sessions: of all keys; None where none has a budget.
        caller: the key.
        thread: the conversation of the request.
        decide: decides within what was charged.

    Raises:
        SessionExhausted: the session has reached its budget.
        LimitsUnavailable: the store is down, and requests are to be refused then.
    """
    if sessions is None:
        return decide(None), None
    session = await sessions.admit(caller, thread.conversation, thread.evidence is not None)
    try:
        return decide(session), session
    except BaseException:
        if session is not None:
            session.settle(0, is_turn=False)
        raise


def decide_within(
    session: SessionCharge | None, caller: Caller, decide: Decide, enforcement: Enforcement
) -> Decision:
    """The decision, with a budget that keeps the session's where the engines can be made to."""
    decision = decide(caller)
    if session is None or session.remaining is None or decision.effort == "none":
        return decision
    tokens_per_choice = session.remaining // enforcement.request.n
    bound = need(enforcement.request, decision).bound
    is_within = bound is not None and bound <= tokens_per_choice
    if is_within or not enforcement.takes(tokens_per_choice):
        return decision
    limits = [limit for limit in (caller.max_budget, tokens_per_choice) if limit is not None]
    return decide(replace(caller, max_budget=min(limits)))


def turn_of_loop(request: ParsedRequest) -> int | None:
    """The turn's number within its tool loop; None without tools, or where it cannot be known."""
    if not request.body.get("tools"):
        return None
    if not in_tool_loop(request.conversation):
        return 1
    if request.previous_response is not None:  # which has the turns before
        return None
    return loop_turn(request.conversation)
