"""The tokens that a request has for its thinking and its answer."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Room:
    """The tokens that a request may spend.

    Args:
        max_tokens: completion tokens at most; None without a limit.
        reserve: those that the answer is to have at least.
        initial_limit: those that the initial request may spend, where nothing else keeps its
            thinking from taking them all; None for `max_tokens`.
        budget: thinking tokens at most; None without a limit.
        is_for_thinking: whether the model may think. What it generates may then be all thinking,
            though none of its text has come yet.
    """

    max_tokens: int | None
    reserve: int
    initial_limit: int | None = None
    budget: int | None = None
    is_for_thinking: bool = True

    @property
    def first_limit(self) -> int | None:
        """The completion tokens that end the initial request."""
        return self.max_tokens if self.initial_limit is None else self.initial_limit
