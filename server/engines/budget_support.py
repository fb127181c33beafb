"""Mode thinking budgets bind on an engine."""

from dataclasses import dataclass
from typing import Literal

Mode = Literal["native", "two-phase", "none"]


@dataclass(frozen=True)
class BudgetSupport:
    """What enforces a budget: the engine, the gateway in two phases, or nothing.

    `proven` tells whether the canary saw a budget bind; `offset` by how many thinking tokens an
    answer that was cut ends beyond the budget that the engine was told (an engine may count its
    transition sentence on top), or short of it (one may count a token of the prompt);
    `detail` says what was seen, in a sentence.
    """

    mode: Mode
    proven: bool
    detail: str
    offset: int = 0

    @property
    def state(self) -> str:
        """The binding in a word or two: for `/ready`, logs and metrics."""
        return self.mode if self.proven or self.mode == "none" else f"{self.mode}, unproven"

    @property
    def undershoot(self) -> int:
        """Thinking tokens by which an answer that was cut stays below its budget."""
        return max(0, -self.offset)

    @property
    def overshoot(self) -> int:
        """Thinking tokens that the engine counts on top of the budget that it is told."""
        return max(0, self.offset)

    def budget_to_send(self, budget: int) -> int | None:
        """What to tell the engine so that a budget holds; None where it is too small for that.

        Where the transition sentence is counted on top it may take up to half of the budget.
        """
        holds = self.mode == "native" and budget >= 2 * self.overshoot
        return budget - self.overshoot if holds else None


UNKNOWN = BudgetSupport("native", False, "the canary got no answer")
"""Trusted meanwhile: a probe that fails is no reason to refuse service."""
