"""The model that the engines serve, as they describe it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelInfo:
    """The engine's model; `context` is in tokens, None where the engine does not tell."""

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
