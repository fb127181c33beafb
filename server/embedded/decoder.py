"""CTranslate2's generator behind typed functions; the only module that knows the library."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import json
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2

_SEEDING = threading.Lock()
_LEAST = 1e-5
"""Temperatures below are 0, as in vLLM, and `top_p` is at least this: it is single precision."""


@dataclass(frozen=True)
class Draw:
    """How a token is drawn: temperature 0 takes the likeliest, `top_k` 0 or -1 means all tokens."""

    temperature: float
    top_p: float
    top_k: int


class Decoder:
    """The weights of a checkpoint on CPU threads; may be used from several threads at once.

    Args:
        folder: CTranslate2 weights.
        workers: threads.
        known: how many tokens the tokenizer has; the padding of the embedding beyond them is never
            drawn.
    """

    def __init__(self, folder: Path, workers: int, known: int) -> None:
        self._folder = folder
        self._known = known
        vocabulary: list[str] = json.loads((folder / "vocabulary.json").read_text())
        self._padding = [[token] for token in vocabulary[known:]]
        self._generator: Any = ctranslate2.Generator(
            str(folder), inter_threads=workers, intra_threads=1
        )

    def run(
        self,
        tokens: Sequence[str],
        most: int,
        ends: Sequence[int],
        draw: Draw,
        drawn: Callable[[int, float], bool],
    ) -> None:
        """Continue `tokens` by at most `most` tokens, or through one of `ends`.

        `drawn` gets each token's id and log-probability, and returns whether to stop there.
        """
        greedy = draw.temperature < _LEAST
        top_k = draw.top_k if 0 < draw.top_k < self._known else 0
        sink = [drawn]

        def callback(result: Any) -> bool:
            return sink[0](result.token_id, result.log_prob or 0.0)

        try:
            self._generator.generate_batch(
                [list(tokens)],
                max_length=most,
                end_token=list(ends),
                return_end_token=True,
                return_scores=True,
                include_prompt_in_result=False,
                sampling_topk=1 if greedy else top_k,
                sampling_topp=1.0 if greedy else max(draw.top_p, _LEAST),
                sampling_temperature=1.0 if greedy else draw.temperature,
                suppress_sequences=self._padding or None,
                callback=callback,
            )
        finally:
            # The library's thread drops the callback a moment later. Were `drawn`, and through it
            # this decoder, still reachable from there, the thread would end up joining itself.
            sink.clear()

    def seeded(self, seed: int, first: Callable[["Decoder"], None]) -> "Decoder":
        """A decoder of one thread whose random numbers follow from `seed`.

        CTranslate2 has one random generator a thread, seeded from a global when it is first used;
        a fresh thread is the one way to give a single choice its seed. `first` must draw.
        """
        with _SEEDING:
            ctranslate2.set_random_seed(seed % 2**32)
            decoder = Decoder(self._folder, 1, self._known)
            first(decoder)
            ctranslate2.set_random_seed(secrets.randbits(32))
        return decoder
