"""How an engine enforces a thinking budget, as the canary measured it."""

from dataclasses import dataclass
from typing import Literal

Mode = Literal["native", "two-phase", "none"]
_STRENGTH: dict[Mode, int] = {"none": 0, "two-phase": 1, "native": 2}


@dataclass(frozen=True)
class BudgetSupport:
    """How budgets are enforced on an engine.

    Args:
        mode: by the engine itself, by the gateway in two phases, or not at all.
        proven: whether the canary measured that a budget holds.
        detail: what the canary measured, a sentence.
        offset: thinking tokens by which an answer that was cut exceeds the budget that the engine
            was given (it may count its transition sentence on top) or, if negative, falls short of
            it (it may count a token of the prompt).
        counts: whether the tokens of a stream can be counted while it runs, for two phases.
        adds_logprobs: whether two phases request log-probabilities, by which they count.
        continues: whether the engine goes on after a closed reasoning block, so that an answer can
            follow thinking that has used up its room.
    """

    mode: Mode
    proven: bool
    detail: str
    offset: int = 0
    counts: bool = True
    adds_logprobs: bool = False
    continues: bool = False

    @property
    def state(self) -> str:
        """The mode, and whether it is unproven: for `/ready`, logs and metrics."""
        return self.mode if self.proven or self.mode == "none" else f"{self.mode}, unproven"

    @property
    def undershoot(self) -> int:
        """Thinking tokens by which an answer that was cut stays below its budget."""
        return max(0, -self.offset)

    @property
    def overshoot(self) -> int:
        """Thinking tokens that the engine counts on top of the budget that it is given."""
        return max(0, self.offset)

    def strength(self) -> tuple[int, bool]:
        """A sort key: weaker support first."""
        return _STRENGTH[self.mode], self.proven

    def budget_to_send(self, budget: int) -> int | None:
        """The budget to put into the request so that `budget` thinking tokens are not exceeded.

        None where the engine cannot enforce it: a transition sentence that is counted on top may
        take up half of a budget, not more.
        """
        is_enforced = self.mode == "native" and budget >= 2 * self.overshoot
        return budget - self.overshoot if is_enforced else None


UNKNOWN = BudgetSupport("native", False, "the canary got no answer")
"""Assumed native until the next probe: a probe that fails is no reason to refuse service."""
