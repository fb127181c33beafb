"""Where a base is: a folder or a name of the hub, or one file in GGUF."""

from pathlib import Path
from typing import Any

_GGUF = ".gguf"


def is_gguf(base: str) -> bool:
    return base.endswith(_GGUF)


def origin(base: str) -> dict[str, Any]:
    """Arguments of `from_pretrained` for a base's configuration or tokenizer."""
    if not is_gguf(base):
        return {"pretrained_model_name_or_path": base}
    file = Path(base)
    return {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}


def weights_origin(base: str) -> dict[str, Any]:
    """Arguments of `from_pretrained` for a base's weights; quantised ones could not be saved."""
    if not is_gguf(base):
        return origin(base)
    from transformers import GgufConfig  # noqa: PLC0415 - takes seconds

    return {**origin(base), "quantization_config": GgufConfig(dequantize=True)}
