"""The record of one request: how it ended, and what was measured."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from loadtest.plan import Client

Ended = Literal["answer", "refused", "disconnected", "error"]


@dataclass
class Record:
    """One request; all times are in seconds.

    Attributes:
        budget: thinking tokens; None where the request had no budget.
        turn: index of the request in its conversation.
        scheduled_at: when it was to be sent, on the clock of `time.perf_counter`.
        latency: from `scheduled_at` to the end of the answer.
        start_delay: from `scheduled_at` to when it was sent.
        ttft: from `scheduled_at` to the first token of reasoning or answer.
        correct: None where the answer cannot be judged.
        answered: whether the answer has any text.
        ended: with an answer, with a refusal that was right, by the client's disconnect, or with
            an error.
        status: HTTP's; None where no response arrived.
        error: the error's class; None where there was none.
        message: the server's error message.
        request_id: the request's `x-request-id` header, which is also in the server's log.
        conversation: id of the conversation's first problem. Requests of one conversation are
            statistically dependent.
    """

    arm: str
    problem_id: str
    budget: int | None
    client: Client = "normal"
    turn: int = 0
    scheduled_at: float = 0.0
    latency: float = 0.0
    start_delay: float = 0.0
    ttft: float | None = None
    effort: str | None = None
    source: str | None = None
    budget_hit: bool | None = None
    thinking_tokens: int | None = None
    completion_tokens: int | None = None
    correct: bool | None = None
    answered: bool = False
    ended: Ended = "answer"
    status: int | None = None
    error: str | None = None
    message: str | None = None
    request_id: str = ""
    conversation: str = ""
    difficulty: float | None = None

    @property
    def answer_tokens(self) -> int | None:
        """Completion tokens outside the reasoning block; None where the counts are unknown."""
        if self.completion_tokens is None or self.thinking_tokens is None:
            return None
        return self.completion_tokens - self.thinking_tokens

    @property
    def tpot(self) -> float | None:
        """Seconds per completion token after the first; None where that is unknown."""
        if self.ttft is None or (self.completion_tokens or 0) < 2:
            return None
        return (self.latency - self.ttft) / ((self.completion_tokens or 0) - 1)


def group_by_conversation(records: Iterable[Record]) -> list[list[Record]]:
    """The records of each conversation; a record without one forms a group of its own."""
    groups: dict[str, list[Record]] = {}
    for index, record in enumerate(records):
        groups.setdefault(record.conversation or f" {index}", []).append(record)
    return list(groups.values())
