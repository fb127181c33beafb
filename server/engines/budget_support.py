"""How thinking budgets bind on an engine."""

from dataclasses import dataclass
from typing import Literal

How = Literal["native", "two-phase", "none"]


@dataclass(frozen=True)
class BudgetSupport:
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

    @property
    def beyond(self) -> int:
        """Thinking tokens that the engine counts on top of the budget that it is told."""
        return max(0, self.offset)

    def told(self, budget: int) -> int | None:
        """What to tell the engine so that a budget holds; None where it is too small for that.

        Where the transition sentence is counted on top it may take up to half of the budget.
        """
        holds = self.how == "native" and budget >= 2 * self.beyond
        return budget - self.beyond if holds else None


UNKNOWN = BudgetSupport("native", False, "the canary got no answer")
"""Trusted meanwhile: a probe that fails is no reason to refuse service."""
