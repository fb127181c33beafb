"""Generates one choice in time slices and enforces its thinking budget; knows tokens, not text.

CTranslate2 keeps no state between calls, so each slice reads the prompt again. That is cheap for
small models, and it lets many requests take turns on few threads.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from server.embedded.checkpoint import Checkpoint
from server.embedded.decoder import Decoder, Draw
from server.embedded.reasoning_tags import BlockToken

_SLICE_TOKENS = 256

log = logging.getLogger(__name__)

Finish = Literal["stop", "length", "error"]


@dataclass(frozen=True)
class Sampling:
    """How to sample a choice; `budget` is in thinking tokens, None without a limit."""

    draw: Draw
    max_tokens: int
    budget: int | None
    seed: int | None


class Generation:
    """A choice in generation.

    A budget of B thinking tokens holds strictly: a reasoning block that is still open is closed so
    that, with the transition sentence counted, it has exactly B tokens. The sentence may take an
    eighth of the budget; with a smaller budget the block is closed without it. A block that the
    model opens later is bounded alike: B is for all of them together.

    Args:
        checkpoint: the model.
        prompt: token ids.
        in_reasoning: whether the prompt ends inside a reasoning block.
        sampling: how to sample.
        emit: called with each token, then once with the finish reason; from any thread.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        prompt: list[int],
        in_reasoning: bool,
        sampling: Sampling,
        emit: Callable[[BlockToken | Finish], None],
    ) -> None:
        self._checkpoint = checkpoint
        self._tokens = checkpoint.tokens(prompt)
        self._reader = checkpoint.tag_reader(in_reasoning)
        self._sampling = sampling
        self._emit = emit
        self._completion_tokens = 0
        self._finish: Finish | None = None
        self._decoder = checkpoint.decoder
        self.cancelled = False
        transition = checkpoint.block.transition
        budget = sampling.budget
        self._transition = transition if (budget or 0) >= 8 * len(transition) else ()
        self._close_at = None if budget is None else budget - len(self._transition)

    def advance(self) -> bool:
        """Run one slice; returns whether the choice is still unfinished."""
        is_unfinished = not self.cancelled and self._advance()
        if not is_unfinished:
            # A seeded decoder has weights and a thread of its own. They would stay until the
            # garbage collector finds this object, which is in a cycle with its choice.
            self._decoder = self._checkpoint.decoder
        return is_unfinished

    def _advance(self) -> bool:
        if self._is_exhausted():
            self._close()
        if self._finish is None:
            self._run_slice()
        if self._finish is not None:
            self._emit(self._finish)
        return self._finish is None

    def _is_exhausted(self) -> bool:
        """Whether the budget is spent within a reasoning block."""
        close_at = self._close_at
        reader = self._reader
        return reader.in_reasoning and close_at is not None and reader.thinking_tokens >= close_at

    def _close(self) -> None:
        block = self._checkpoint.block
        transition = self._transition if self._reader.thinking_tokens == self._close_at else ()
        self._emit_all(self._reader.flush())  # what began like a tag is a thought
        for token in (*transition, *block.end, *block.gap):
            self._append(token, 0.0)

    def _run_slice(self) -> None:
        sampling = self._sampling
        slice_tokens = min(_SLICE_TOKENS, sampling.max_tokens - self._completion_tokens)
        if self._reader.in_reasoning and self._close_at is not None:
            slice_tokens = min(slice_tokens, self._close_at - self._reader.thinking_tokens)

        def run(decoder: Decoder) -> None:
            decoder.run(
                self._tokens, slice_tokens, self._checkpoint.eos, sampling.draw, self._on_token
            )

        if (
            sampling.seed is not None
            and sampling.draw.temperature > 0
            and self._completion_tokens == 0
        ):
            self._decoder = self._decoder.seeded(sampling.seed, run)
        else:
            run(self._decoder)

    def _on_token(self, token: int, logprob: float) -> bool:
        if not self.cancelled:
            self._append(token, logprob)
        return self.cancelled or self._finish is not None or self._is_exhausted()

    def _append(self, token: int, logprob: float) -> None:
        if self._finish is not None:
            return
        self._tokens += self._checkpoint.tokens([token])
        self._completion_tokens += 1
        if token in self._checkpoint.eos:
            self._finish = "stop"
        elif self._completion_tokens == self._sampling.max_tokens:
            self._finish = "length"
        self._emit_all(self._reader.read(token, logprob))
        if self._finish is not None:
            self._emit_all(self._reader.flush())

    def _emit_all(self, tokens: list[BlockToken]) -> None:
        for step in tokens:
            self._emit(step)


class Scheduler:
    """Runs the slices of all generations in turn, on a few threads."""

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="generate")

    def start(self, generation: Generation, on_failure: Callable[[], None]) -> None:
        """Queue a generation; `on_failure` is called if it raises."""

        def run() -> None:
            try:
                is_unfinished = generation.advance()
            except Exception:  # of any kind: the request would otherwise hang for ever
                log.exception("generation failed")
                on_failure()
                return
            if is_unfinished:
                self._pool.submit(run)

        self._pool.submit(run)
