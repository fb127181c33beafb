"""Completions of a rollout as token ids: where the reasoning ends, and what the answer says."""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

from models.training.template_check import CLOSE, OPEN, is_open


@dataclass
class Completion:
    """Token ids up to and with the end token, and their log-probabilities if the engine tells.

    `forced` is the index of a token that the model was made to write (`explore` of the recipe);
    `borrowed` is the effort of the prompt, where that is another than the task's (`borrow`).
    """

    ids: list[int]
    logprobs: list[float] | None = None
    forced: int | None = None
    borrowed: str | None = None


@dataclass(frozen=True)
class Reader:
    """Reads completions of a tokenizer; `ends` are the tokens that end an answer."""

    tokenizer: Any
    ends: frozenset[int]

    @property
    def close(self) -> list[int]:
        """The token ids of the end of a reasoning block."""
        return list(self.tokenizer(CLOSE, add_special_tokens=False)["input_ids"])

    def is_truncated(self, completion: Completion) -> bool:
        return not completion.ids or completion.ids[-1] not in self.ends

    def thinking_tokens(self, completion: Completion) -> int:
        """The tokens before the end of the block; 0 without one, as such a model does not think.

        The end is looked for in the text: where it is several tokens, the first or last of them may
        have characters of what stands beside it, such as `>` and line breaks.
        """
        ids = completion.ids

        def is_closed_by(count: int) -> bool:
            return CLOSE in str(self.tokenizer.decode(ids[:count], skip_special_tokens=False))

        if not is_closed_by(len(ids)):
            return 0
        return max(0, bisect_left(range(len(ids)), True, key=is_closed_by) - len(self.close))

    def response(self, prompt: str, completion: Completion) -> str:
        """The visible answer: what follows the reasoning block; empty where that has no end."""
        ids = completion.ids if self.is_truncated(completion) else completion.ids[:-1]
        text = str(self.tokenizer.decode(ids, skip_special_tokens=False))
        _, closed, answer = text.partition(CLOSE)
        if closed:
            return answer.strip()
        opened = is_open(prompt) or text.lstrip().startswith(OPEN)
        return "" if opened else text.strip()
