"""CTranslate2's generator behind typed functions; the only module that imports the library."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2

_SEEDING = threading.Lock()
_UNSEEDED = 2**32 - 1
"""The library's seed by which each thread gets one from the system (its `src/random.cc`)."""

_EPSILON = 1e-5
"""Lower temperatures count as 0, as in vLLM, and a lower `top_p` is raised: single precision."""


@dataclass(frozen=True)
class Draw:
    """Sampling parameters: temperature 0 is greedy, `top_k` 0 or -1 means all tokens."""

    temperature: float
    top_p: float
    top_k: int


class Decoder:
    """The weights of a checkpoint on CPU threads; may be used from several threads at once.

    Args:
        folder: CTranslate2 weights.
        workers: threads.
        vocabulary_size: tokens of the tokenizer; the padding of the embedding after them is never
            drawn.
    """

    def __init__(self, folder: Path, workers: int, vocabulary_size: int) -> None:
        self._folder = folder
        self._vocabulary_size = vocabulary_size
        vocabulary: list[str] = json.loads((folder / "vocabulary.json").read_text())
        self._padding = [[token] for token in vocabulary[vocabulary_size:]]
        self._generator: Any = ctranslate2.Generator(
            str(folder), inter_threads=workers, intra_threads=1
        )

    def run(
        self,
        tokens: Sequence[str],
        max_tokens: int,
        end_tokens: Sequence[int],
        draw: Draw,
        on_token: Callable[[int, float], bool],
    ) -> None:
        """Continue `tokens` by at most `max_tokens` tokens, or up to one of `end_tokens`.

        `on_token` gets each token's id and log-probability, and returns whether to stop there.
        """
        greedy = draw.temperature < _EPSILON
        top_k = draw.top_k if 0 < draw.top_k < self._vocabulary_size else 0
        callbacks = [on_token]

        def callback(result: Any) -> bool:
            return callbacks[0](result.token_id, result.log_prob or 0.0)

        try:
            self._generator.generate_batch(
                [list(tokens)],
                max_length=max_tokens,
                end_token=list(end_tokens),
                return_end_token=True,
                return_scores=True,
                include_prompt_in_result=False,
                sampling_topk=1 if greedy else top_k,
                sampling_topp=1.0 if greedy else max(draw.top_p, _EPSILON),
                sampling_temperature=1.0 if greedy else draw.temperature,
                suppress_sequences=self._padding or None,
                callback=callback,
            )
        finally:
            # The library's thread drops the callback a moment later. If `on_token`, and through it
            # this decoder, were still reachable from there, the thread would join itself.
            callbacks.clear()

    def seeded(self, seed: int, warm_up: Callable[["Decoder"], object]) -> "Decoder":
        """A decoder with one thread, whose random numbers are determined by `seed`.

        CTranslate2 has one random generator per thread, seeded from a global at its first use; a
        new thread is the only way to give a single choice its seed. `warm_up` must draw.
        """
        with _SEEDING:
            ctranslate2.set_random_seed(seed % _UNSEEDED)
            decoder = Decoder(self._folder, 1, self._vocabulary_size)
            warm_up(decoder)
            ctranslate2.set_random_seed(_UNSEEDED)
        return decoder
