"""What a request has generated when it ended without an answer, or within one."""

from dataclasses import dataclass
from typing import Self

from server.engines.continuing.prefix import closed_block, ended_block, shortened
from server.engines.usage import Usage


@dataclass
class Unfinished:
    """The state of one choice that its engine has ended.

    Args:
        reasoning: the text of its reasoning block.
        text: the text of an answer that has begun.
        thinking_tokens: those of `reasoning`; None where the engine does not report them.
        completion_tokens: those of both; None where the engine does not report them.
        prompt_tokens: those of the prompt; None where the engine does not report them.
        at_length: whether `max_tokens` or the context ended it.
        index: of the choice.
        closing_tokens: those with which the prefix closes the reasoning block.
    """

    reasoning: str
    text: str = ""
    thinking_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens: int | None = None
    at_length: bool = False
    index: int = 0
    closing_tokens: int = 0

    @property
    def usage(self) -> Usage:
        """The tokens as far as they are known."""
        return Usage(self.prompt_tokens or 0, self.completion_tokens or 0, self.thinking_tokens)

    @classmethod
    def of(cls, reasoning: str, text: str, usage: Usage | None, at_length: bool) -> Self | None:
        """The state of a choice; None where it has an answer that nothing has cut, or no tokens.

        Args:
            reasoning: the text of its reasoning block.
            text: the text of its answer.
            usage: its tokens, as far as the engine reports them.
            at_length: whether a limit ended it.
        """
        text = text if text.strip() else ""
        is_nothing = not (reasoning or text or at_length) and not (usage and usage.completion)
        if is_nothing or (text and not at_length):
            return None
        if usage is None:
            return cls(reasoning, text, at_length=at_length)
        thinking = usage.completion if usage.thinking is None and not text else usage.thinking
        return cls(reasoning, text, thinking, usage.completion, usage.prompt, at_length)

    def prefix(self) -> str:
        """How the message begins that the engine is to go on with."""
        if self.text and not self.reasoning:
            return self.text
        if self.text:
            return ended_block(self.reasoning.strip()) + self.text
        return closed_block(self.reasoning)

    def shorten(self, reserve: int) -> None:
        """Drop the end of the reasoning, for an answer of so many tokens."""
        self.reasoning = shortened(self.reasoning, self.completion_tokens or reserve, reserve)
