"""CTranslate2's generator behind typed functions; the only module that knows the library."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2

_SEEDING = threading.Lock()


@dataclass(frozen=True)
class Draw:
    """How a token is drawn: temperature 0 takes the likeliest, `top_k` 0 means all tokens."""

    temperature: float
    top_p: float
    top_k: int


class Decoder:
    """The weights of a checkpoint on CPU threads; may be used from several threads at once."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._folder = folder
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
        greedy = draw.temperature == 0

        def callback(result: Any) -> bool:
            return drawn(result.token_id, result.log_prob or 0.0)

        self._generator.generate_batch(
            [list(tokens)],
            max_length=most,
            end_token=list(ends),
            return_end_token=True,
            return_scores=True,
            include_prompt_in_result=False,
            sampling_topk=1 if greedy else max(draw.top_k, 0),
            sampling_topp=1.0 if greedy else draw.top_p,
            sampling_temperature=1.0 if greedy else draw.temperature,
            callback=callback,
        )

    def seeded(self, seed: int, first: Callable[["Decoder"], None]) -> "Decoder":
        """A decoder of one thread whose random numbers follow from `seed`.

        CTranslate2 has one random generator a thread, seeded from a global when it is first used;
        a fresh thread is the one way to give a single choice its seed. `first` must draw.
        """
        with _SEEDING:
            ctranslate2.set_random_seed(seed % 2**32)
            decoder = Decoder(self._folder, workers=1)
            first(decoder)
            ctranslate2.set_random_seed(secrets.randbits(32))
        return decoder
