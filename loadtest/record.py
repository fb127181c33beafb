"""What became of one request."""

from dataclasses import dataclass
from typing import Literal

from loadtest.workload import Client

Ended = Literal["answer", "refused", "left", "error"]


@dataclass
class Record:
    """What one request did; times in seconds. `error` is its class, None where none was made.

    `at` is when it was due, on the clock of `time.perf_counter`. `latency` and `ttft` (to the first
    token of reasoning or answer) count from then, not from when it was sent: `late` is the
    difference. `ended` is how it ended: in an answer, in a refusal that was right, by the client's
    leaving, or in an error. `correct` is None where nothing is known to judge by.
    """

    arm: str
    problem_id: str
    budget: int | None
    client: Client = "waiting"
    turn: int = 0
    at: float = 0.0
    latency: float = 0.0
    late: float = 0.0
    ttft: float | None = None
    effort: str | None = None
    source: str | None = None
    budget_hit: bool | None = None
    thinking_tokens: int | None = None
    completion_tokens: int | None = None
    correct: bool | None = None
    answered: bool = False
    ended: Ended = "answer"
    error: str | None = None

    @property
    def tpot(self) -> float | None:
        """Seconds per completion token after the first; None where that is not known."""
        if self.ttft is None or (self.completion_tokens or 0) < 2:
            return None
        return (self.latency - self.ttft) / ((self.completion_tokens or 0) - 1)
