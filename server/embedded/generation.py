"""One choice being generated, a time slice after the other, its budget enforced.

Knows tokens only. CTranslate2 keeps no state between calls, so each slice reads the prompt anew,
which is cheap for the small models that this engine is for, and lets many requests take turns on
few threads.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from server.embedded.checkpoint import Checkpoint
from server.embedded.decoder import Decoder, Draw

_SLICE_TOKENS = 256

log = logging.getLogger(__name__)

Finish = Literal["stop", "length", "error"]


@dataclass(frozen=True)
class Sampling:
    """How to draw tokens; `budget` is in thinking tokens, None unbounded."""

    draw: Draw
    max_tokens: int
    budget: int | None
    seed: int | None


@dataclass(frozen=True)
class Step:
    """One token; `block` tells the thinking tokens and the closing tag from the answer's."""

    token: int
    logprob: float
    block: Literal["thinking", "end", "answer"]


class Generation:
    """A choice on its way.

    A budget of B thinking tokens holds strictly: a block that is still open is closed by force so
    that, with the transition sentence counted, exactly B tokens are inside. The sentence may take
    an eighth of the budget; a smaller budget is closed without one.

    Args:
        checkpoint: the model.
        prompt: token ids.
        thinking: whether the prompt leaves a reasoning block open.
        sampling: how to draw.
        emit: called with each step, then once with the finish reason; from any thread.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        prompt: list[int],
        thinking: bool,
        sampling: Sampling,
        emit: Callable[[Step | Finish], None],
    ) -> None:
        self._checkpoint = checkpoint
        self._tokens = checkpoint.tokens(prompt)
        self._thinking = thinking
        self._sampling = sampling
        self._emit = emit
        self._made = 0
        self._thought = 0
        self._finish: Finish | None = None
        self._decoder = checkpoint.decoder
        self.cancelled = False
        transition = checkpoint.closing.transition
        budget = sampling.budget
        self._transition = transition if (budget or 0) >= 8 * len(transition) else ()
        self._force_at = None if budget is None else budget - len(self._transition)

    def advance(self) -> bool:
        """Run one slice; returns whether there is more to do."""
        if self.cancelled:
            return False
        if self._thinking and self._thought == self._force_at:
            self._close()
        if self._finish is None:
            self._run_slice()
        if self._finish is not None:
            self._emit(self._finish)
        return self._finish is None

    def _close(self) -> None:
        closing = self._checkpoint.closing
        for token in self._transition:
            self._take(token, 0.0)
        self._take(closing.end, 0.0)
        for token in closing.gap:
            self._take(token, 0.0)

    def _run_slice(self) -> None:
        sampling = self._sampling
        room = min(_SLICE_TOKENS, sampling.max_tokens - self._made)
        if self._thinking and self._force_at is not None:
            room = min(room, self._force_at - self._thought)

        def run(decoder: Decoder) -> None:
            decoder.run(self._tokens, room, self._checkpoint.eos, sampling.draw, self._drawn)

        if sampling.seed is not None and sampling.draw.temperature > 0 and self._made == 0:
            self._decoder = self._decoder.seeded(sampling.seed, run)
        else:
            run(self._decoder)

    def _drawn(self, token: int, logprob: float) -> bool:
        if not self.cancelled:
            self._take(token, logprob)
        return self.cancelled or self._finish is not None

    def _take(self, token: int, logprob: float) -> None:
        if self._finish is not None:
            return
        self._tokens += self._checkpoint.tokens([token])
        self._made += 1
        if token in self._checkpoint.eos:
            self._finish = "stop"
        elif self._made == self._sampling.max_tokens:
            self._finish = "length"
        block: Literal["thinking", "end", "answer"] = "answer"
        if self._thinking and token == self._checkpoint.closing.end:
            self._thinking, block = False, "end"
        elif self._thinking:
            self._thought += 1
            block = "thinking"
        self._emit(Step(token, logprob, block))


class Scheduler:
    """Gives every generation its slices in turn, on a few threads."""

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="generate")

    def start(self, generation: Generation, failed: Callable[[], None]) -> None:
        """Queue a generation; `failed` is called if it raises."""

        def run() -> None:
            try:
                more = generation.advance()
            except Exception:  # whatever it was, a request that is not told hangs for ever
                log.exception("generation failed")
                failed()
                return
            if more:
                self._pool.submit(run)

        self._pool.submit(run)
