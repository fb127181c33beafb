"""What is wrong with a run's answers as a whole, said before a training by them takes hours."""

from collections.abc import Mapping, Sequence
from typing import Any

_MANY_CUT = 0.5


def problems_of_outcomes(outcomes: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each thing that is wrong with judged answers, and what to do about it."""
    count = len(outcomes)
    if not count:
        return ["there is no answer at all: see what was refused"]
    right = sum(bool(row["correct"]) for row in outcomes)
    cut = sum(bool(row["truncated"]) for row in outcomes)
    sentences: list[str] = []
    if not right:
        sentences.append(
            f"none of {count} answers is right: read some in outcomes.jsonl, and see whether the "
            "model answers, whether verify.by reads its form, and whether the problems suit it"
        )
    if cut >= _MANY_CUT * count:
        sentences.append(
            f"{cut} of {count} answers were cut off: raise max_tokens, or the engine's context"
        )
    thinking = [row for row in outcomes if row["effort"] != "none"]
    if thinking and not any(row.get("reasoning") for row in thinking):
        sentences.append(
            f"none of {len(thinking)} answers has any reasoning: the model does not think, or the "
            "engine does not part it from the answer (vLLM: --reasoning-parser)"
        )
    return sentences
