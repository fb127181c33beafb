"""The model that an engine serves, as the engine describes it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.effort import EFFORTS, Effort
from router.token_count import token_count
from server.http.json_codec import as_object

_STARTED = int(time.time())
_SUFFIXES = frozenset((*EFFORTS, "ultra", "auto"))


@dataclass(frozen=True)
class ModelInfo:
    """What an engine reports of a model.

    Attributes:
        model: its name on the engine.
        context: tokens of prompt and completion together, None where the engine does not say.
        created: Unix seconds; those of this process's start where the engine does not say.
        aliases: further names under which clients may ask for it.
    """

    model: str
    context: int | None
    created: int = _STARTED
    aliases: tuple[str, ...] = ()

    def effort_suffix(self, name: str) -> str | None:
        """The effort behind the colon of a name such as `demo:high`; None for any other name."""
        base, _, word = name.rpartition(":")
        is_own = base == self.model or base in self.aliases
        return word if is_own and word in _SUFFIXES else None

    def base_name(self, name: str) -> str:
        """The name without the effort behind its colon."""
        return name.rpartition(":")[0] if self.effort_suffix(name) else name

    def card(self, name: str, efforts: Sequence[Effort]) -> dict[str, Any]:
        """The model object of `GET /v1/models`, in vLLM's form and with the efforts offered."""
        return {
            "id": name,
            "object": "model",
            "created": self.created,
            "owned_by": "tops",
            "max_model_len": self.context,
            "efforts": [*efforts],
        }


def parse_model(model: Mapping[str, Any]) -> ModelInfo:
    """A model object of an engine's list; llama.cpp reports its context as `meta.n_ctx`."""
    meta = as_object(model.get("meta"))
    context = _integer(model.get("max_model_len")) or _integer(meta.get("n_ctx"))
    return ModelInfo(str(model["id"]), context, _integer(model.get("created")) or _STARTED)


def _integer(value: object) -> int | None:
    number = token_count(value)
    return number if number is not None and number > 0 else None
