"""What is known of one request: filled in stage by stage, read by the ledger, metrics and log."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from server.decide.conversations import Thread
from server.decide.decision import Decision
from server.engines.usage import Usage
from server.observe.metrics import EmptyCause

if TYPE_CHECKING:
    from server.http.response_head import BeginResponse, WriteChunk

_IGNORED_FACTOR, _IGNORED_TOKENS = 1.25, 16
"""Thinking beyond this multiple of a budget and these tokens is no matter of counting."""

_SPENT_SHARE = 0.75
"""Of `max_tokens`: the rest may have been withheld for an answer that did not come."""


class Trace(Protocol):
    """The spans of a request; `server.lifecycle.trace` has them."""

    def begin_engine(self, record: "RequestRecord") -> None: ...
    def name_engine(self, name: str) -> None: ...
    def close(self, record: "RequestRecord") -> None: ...


@dataclass(slots=True)
class RequestRecord:
    """One request, from its arrival until it is closed.

    Each stage fills in the fields under its comment. A request that ends early leaves the fields of
    the later stages at their defaults. Times are `time.perf_counter` seconds.
    """

    # opened
    request_id: str
    opened_at: float = field(default_factory=time.perf_counter)
    engine_headers: dict[str, str] = field(default_factory=dict[str, str])
    """Headers for the engine: the id, and the trace that the request belongs to."""
    trace: "Trace | None" = None
    """Its spans; None where tracing is off."""
    begin_response: "BeginResponse | None" = None
    """Sends the response's head in one piece; None where the server, or a layer, needs ASGI's."""
    write_chunk: "WriteChunk | None" = None
    """Writes to a stream whose head it has sent; None otherwise."""
    id_headers: tuple[bytes, ...] = (b"x-request-id",)
    """The response headers that have the id."""

    # authenticated
    caller: str = ""
    """The name of the API key."""

    limit_headers: Sequence[tuple[bytes, bytes]] = ()
    """Response headers that show what is left of the key's limits."""

    # body read and parsed
    body_read_at: float | None = None
    choices: int = 1
    stream: bool = False
    prompt_json: str | None = None
    """The request's messages; only where the settings allow prompts in the log."""

    parsed_at: float | None = None
    """When body and conversation were known; only where a decision follows."""

    # decided
    decided_at: float | None = None
    thread: Thread | None = None
    loop_turn: int | None = None
    """The turn's number within its tool loop; None without tools, or where it is unknown."""
    decision: Decision | None = None
    model: str = ""
    """The engine's name of it."""

    # forwarded
    forwarded_at: float | None = None
    undershoot: int = 0
    """Thinking tokens by which this engine may stop short of a budget, as its canary measured."""

    # answered
    status: int = 200
    first_byte_at: float | None = None
    first_answer_at: float | None = None
    """When the first text or tool's call behind the thinking came in a stream."""
    usage: Usage | None = None
    """All tokens spent: a retry with a larger budget and discarded attempts are included."""
    final_usage: Usage | None = None
    """The usage of the last attempt, which is the one that the decision's budget was for."""
    attempts: int = 1
    """Two where the initial attempt of a composite effort hit its budget."""
    discarded: Usage | None = None
    """The usage of that initial attempt, of which the client gets nothing."""
    unreported: Usage | None = None
    """Tokens of requests to the engine that no usage reports, as far as the gateway knows them."""
    was_held: bool = False
    """Whether an attempt was read wholly before the client got anything: its stream has no pace."""
    head_sent: bool = False
    """Whether status and headers have been sent."""
    delivered: bool = False
    """Whether the answer was complete when the client, or the gateway, ended the connection."""
    max_tokens: int | None = None
    context: int | None = None
    """Bounds of the completion, in tokens; None where there is none, or it is not known."""
    empty_answers: int = 0
    """Choices without text and without a tool's call."""
    cut_by_gateway: bool | None = None
    """Whether the gateway itself ended the thinking at its budget; None where the engine would."""

    answer: int | None = None
    """The keyed hash by which a later turn's history shows this answer."""
    response: int | None = None
    """The keyed hash of the response's id."""

    # closed
    closed_at: float | None = None

    @property
    def budget_hit(self) -> bool | None:
        """Whether the budget ended the thinking; None where that cannot be known.

        A budget holds for each choice, and usage reports only their sum. Of several choices, none
        was cut if the sum is below one budget, and all were if it reaches all of them.
        """
        if self.decision is None or self.decision.effort == "none" or self.decision.budget is None:
            return False
        if self.cut_by_gateway is not None:
            return self.cut_by_gateway
        if self.final_usage is None or self.final_usage.thinking is None:
            return None
        bound = max(0, self.decision.budget - self.undershoot)
        if self.final_usage.thinking < bound:
            return False
        return True if self.final_usage.thinking >= self.choices * bound else None

    @property
    def budget_ignored(self) -> bool:
        """Whether the engine has thought far beyond the budget that it was given."""
        if self.decision is None or self.decision.budget is None or self.final_usage is None:
            return False
        granted = self.choices * self.decision.budget
        return (self.final_usage.thinking or 0) > _IGNORED_FACTOR * granted + _IGNORED_TOKENS

    @property
    def first_answer_seconds(self) -> float | None:
        """From the request to the first token of a streamed answer; None without one."""
        if not self.stream or self.first_answer_at is None:
            return None
        return self.first_answer_at - self.opened_at

    @property
    def empty_cause(self) -> EmptyCause:
        """What ended a completion that has no answer."""
        usage = self.final_usage
        if usage is None:
            return "unknown"
        limit = self.max_tokens
        if limit is not None and usage.completion >= _SPENT_SHARE * self.choices * limit:
            return "max_tokens"
        if self.budget_hit:
            return "budget"
        if self.context is not None and usage.prompt + usage.completion >= self.context:
            return "context"
        return "stop"

    @property
    def baseline_tokens(self) -> float | None:
        """Thinking tokens that all choices were expected to take at the baseline effort."""
        baseline = self.decision.baseline_tokens if self.decision else None
        return None if baseline is None else self.choices * baseline

    @property
    def expected_tokens(self) -> float | None:
        """Thinking tokens that all choices were expected to take at the decision's effort."""
        decision = self.decision
        if decision is None or decision.estimate is None or not decision.calibrated:
            return None
        expected = decision.estimate.tokens.get(decision.choice)
        return None if expected is None else self.choices * expected

    def record_usage(
        self, usage: Usage | None, cut_by_gateway: bool | None = None, retry: bool = False
    ) -> dict[str, Any]:
        """Record what the engine reported, and return the `tops` object that follows from it.

        A stream may report usage several times: each report replaces the one before. That of a
        `retry` is added to that of the first attempt. What an earlier attempt spent stays counted
        where the last one reports nothing.
        """
        earlier = self.usage if retry else self.discarded
        self.usage = earlier + usage if earlier and usage else usage or earlier
        self.final_usage, self.cut_by_gateway = usage, cut_by_gateway
        return self.tops()

    @property
    def spent(self) -> Usage | None:
        """All tokens spent, as far as they are known; also where the last attempt failed."""
        reported, unreported = self.usage or self.discarded, self.unreported
        if unreported is None:
            return reported
        return reported + unreported if reported else unreported

    def book(self, usage: Usage) -> None:
        """Record tokens that no usage reports."""
        self.unreported = self.unreported + usage if self.unreported else usage

    def begin_final_attempt(self) -> None:
        """Go on to the decision's final attempt; what the initial one spent stays counted."""
        assert self.decision is not None
        assert self.decision.final is not None
        self.decision = self.decision.final
        self.attempts, self.discarded = 2, self.final_usage
        self.usage = self.final_usage = self.cut_by_gateway = None

    def raise_budget(self, budget: int) -> None:
        """Replace the decision's budget before the request is retried with a larger one."""
        assert self.decision is not None
        self.decision = self.decision._replace(budget=budget)

    def tops(self) -> dict[str, Any]:
        """The `tops` object of the response body; token counts are thinking tokens."""
        assert self.decision is not None
        baseline = self.baseline_tokens
        spent = self.usage if self.unreported is None else self.spent
        tops: dict[str, Any] = {
            "effort": self.decision.effort,
            "source": self.decision.source,
            "budget": self.decision.budget,
            "budget_source": self.decision.budget_source,
            "budget_hit": self.budget_hit,
            "thinking_tokens": spent.thinking if spent else None,
            "baseline_tokens": None if baseline is None else round(baseline),
        }
        if self.decision.composite is not None:
            tops |= {"composite": self.decision.composite.name, "attempts": self.attempts}
        return tops
