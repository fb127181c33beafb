"""The model that an engine serves, as the engine describes it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelInfo:
    """A model's name and its context length in tokens, None where the engine does not report it."""

    model: str
    context: int | None

    def card(self) -> dict[str, Any]:
        """The model object of `GET /v1/models`, in vLLM's form."""
        return {
            "id": self.model,
            "object": "model",
            "owned_by": "tops",
            "max_model_len": self.context,
        }
