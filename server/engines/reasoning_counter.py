"""Counts the tokens of a reasoning block while it is streamed, so that a budget holds in tokens.

A chunk may carry several tokens. They are counted by the running usage of the stream; where it has
none, by the engine's tokenizer; where the engine has none, by the log-probabilities of the chunk.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, cast, get_args

from server.engines.usage import read_usage

Tokenize = Callable[[str], Awaitable[int | None]]
"""The number of tokens of a text; None where the engine has no tokenizer to ask."""

Method = Literal["usage", "tokenizer", "logprobs", "estimate"]
_METHODS: tuple[Method, ...] = get_args(Method)

_BYTES_PER_TOKEN = 4
"""For the estimate. With it, a budget is not proven to hold."""


class ReasoningCounter:
    """The tokens of one reasoning block.

    `tokens` are those of the text that was accepted, `prompt_tokens` those of the prompt (None
    before they are reported), `method` the weakest way of counting so far (None before any text).

    Args:
        budget: tokens that the block may have; None without a limit.
        tokenize: counts a text on the engine; None where the engine cannot.
    """

    def __init__(self, budget: int | None, tokenize: Tokenize | None = None) -> None:
        self.text = ""
        self.tokens = 0
        self.prompt_tokens: int | None = None
        self.method: Method | None = None
        self._budget = budget
        self._tokenize = tokenize
        self._chunks = self._bytes = self._logprobs = 0
        self._safe_bytes = budget or 0
        """Text that is within the budget whatever it is: a token has at least one byte."""

    async def accept(self, chunk: dict[str, Any], choice: dict[str, Any], text: str) -> bool:
        """Count the text of a chunk; False where the block would exceed its budget with it."""
        self._chunks += 1
        self._logprobs += _logprob_count(choice)
        size = self._bytes + _bytes(text)
        tokens = self._by_usage(chunk)
        if tokens is None:
            tokens = await self._without_usage(size, text)
        if self._budget is not None and tokens > self._budget:
            return False
        self.tokens, self._bytes = tokens, size
        self.text += text
        return True

    async def accept_part(self, text: str) -> str:
        """Count as much of a refused text as the budget has room for; returns it.

        `tokens` are to be settled before. Without a tokenizer no part of a text is counted.
        """
        assert self._budget is not None
        room = self._budget - self.tokens
        if room <= 0 or self._tokenize is None:
            return ""
        before = await self._tokenize(self.text)
        if before is None:
            return ""
        tokens, length, excess = 0, 0, len(text)
        while excess - length > 1:
            middle = (length + excess) // 2
            after = await self._tokenize(self.text + text[:middle])
            if after is None or after - before > room:
                excess = middle
            else:
                length, tokens = middle, after - before
        self.tokens += tokens
        self.text += text[:length]
        return text[:length]

    async def count(self, text: str) -> int:
        """The tokens of any text: the tokenizer's, or an estimate."""
        tokens = await self._tokenize(text) if self._tokenize is not None else None
        return -(-_bytes(text) // _BYTES_PER_TOKEN) if tokens is None else tokens

    async def settle(self) -> None:
        """Count all the text that was accepted, where that has been put off until the end."""
        if self.method == "tokenizer":
            self.tokens = await self.count(self.text)

    def _by_usage(self, chunk: dict[str, Any]) -> int | None:
        usage = read_usage(chunk)
        if usage is None:
            return None
        self.prompt_tokens = usage.prompt
        # up to here, all completion tokens are thinking tokens
        for tokens in (usage.thinking, usage.completion):
            if tokens is not None and tokens >= self._chunks:  # else the count does not run along
                self._use("usage")
                return tokens
        return None

    async def _without_usage(self, size: int, text: str) -> int:
        if self._tokenize is not None:
            if self._budget is None or size <= self._safe_bytes:
                self._use("tokenizer")
                return self._chunks if self._budget is None else min(self._chunks, self._budget)
            tokens = await self._tokenize(self.text + text)
            if tokens is not None:
                self._use("tokenizer")
                self._safe_bytes = size + max(0, self._budget - tokens)
                return tokens
            self._tokenize = None
        if self._logprobs >= self._chunks:
            self._use("logprobs")
            return self._logprobs
        self._use("estimate")
        return max(self._chunks, -(-size // _BYTES_PER_TOKEN))

    def _use(self, method: Method) -> None:
        if self.method is None or _METHODS.index(method) > _METHODS.index(self.method):
            self.method = method


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))


def _logprob_count(choice: dict[str, Any]) -> int:
    logprobs = choice.get("logprobs")
    tokens = cast("dict[str, Any]", logprobs).get("content") if isinstance(logprobs, dict) else None
    return len(cast("list[Any]", tokens)) if isinstance(tokens, list) else 0
