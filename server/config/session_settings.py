"""The budget of a session: what all turns of one conversation may take together."""

from typing import Literal, NamedTuple

OverSession = Literal["refuse", "lower"]


class SessionBudget(NamedTuple):
    """The most that one session may take; None where that is not limited.

    Attributes:
        turns: requests.
        thinking_tokens: of all requests together.
        over: what becomes of requests above it.
    """

    turns: int | None = None
    thinking_tokens: int | None = None
    over: OverSession = "refuse"

    def within(self, default: "SessionBudget", over: OverSession | None) -> "SessionBudget":
        """This budget with the default's limits where it has none of its own."""
        return SessionBudget(
            default.turns if self.turns is None else self.turns,
            default.thinking_tokens if self.thinking_tokens is None else self.thinking_tokens,
            default.over if over is None else over,
        )


NO_BUDGET = SessionBudget()
