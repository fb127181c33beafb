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
        offered_rate: conversations per second of its stage in a sweep; None elsewhere.
        latency: from `scheduled_at` to the end of the answer.
        start_delay: from `scheduled_at` to when it was sent.
        ttft: from `scheduled_at` to the first token of reasoning or answer.
        answer_ttft: from `scheduled_at` to the first token of the answer, or of a tool call.
        last_token: from `scheduled_at` to the last chunk with a token.
        longest_gap: the longest time between two chunks with tokens, a stall of the stream.
        chunks: the number of chunks with tokens.
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
    offered_rate: float | None = None
    latency: float = 0.0
    start_delay: float = 0.0
    ttft: float | None = None
    answer_ttft: float | None = None
    last_token: float | None = None
    longest_gap: float | None = None
    chunks: int = 0
    effort: str | None = None
    source: str | None = None
    budget_hit: bool | None = None
    prompt_tokens: int | None = None
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

    def note_tokens(self, seconds: float, is_answer: bool) -> None:
        """Note a chunk with tokens that arrived `seconds` after `scheduled_at`."""
        if self.last_token is None:
            self.ttft = seconds
        else:
            self.longest_gap = max(self.longest_gap or 0.0, seconds - self.last_token)
        if is_answer and self.answer_ttft is None:
            self.answer_ttft = seconds
        self.last_token = seconds
        self.chunks += 1

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

    @property
    def itl(self) -> float | None:
        """Mean seconds between two chunks with tokens; None where there are no two."""
        if self.ttft is None or self.last_token is None or self.chunks < 2:
            return None
        return (self.last_token - self.ttft) / (self.chunks - 1)


def group_by_conversation(records: Iterable[Record]) -> list[list[Record]]:
    """The records of each conversation; a record without one forms a group of its own."""
    groups: dict[str, list[Record]] = {}
    for index, record in enumerate(records):
        groups.setdefault(record.conversation or f" {index}", []).append(record)
    return list(groups.values())
