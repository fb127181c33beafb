"""Says in a sentence why llama.cpp could not load a model, and what to do."""

import re
from pathlib import Path

_UNKNOWN = {
    "architecture": re.compile(r"unknown model architecture: '([^']*)'"),
    "tokenizer": re.compile(r"unknown pre-tokenizer type: '([^']*)'"),
}
_MEMORY = re.compile(
    r"cannot allocate memory|(?:failed|unable) to allocate|out of memory|bad_alloc", re.IGNORECASE
)
_DAMAGED = re.compile(
    r"corrupted or incomplete|file bounds|failed to read|unexpectedly reached end"
)
_WRONG = re.compile(
    r"(?:missing tensor|wrong number of tensors|tensor '[^']*' has wrong shape)[^\n]*"
)
_OTHER = re.compile(r"error loading model: (?:error loading model \w+: )?([^\n]*\S)")
_UPDATE = "update llama.cpp (pip install --upgrade xllamacpp), or take another model"
_KILLED = -9


def explain_failure(model: Path, status: int | str, output: str) -> str | None:
    """Why the engine exited before it was ready; None where its output says it best.

    Args:
        model: the GGUF file.
        status: of the process; negative for the signal that ended it.
        output: the last lines that it wrote.
    """
    for part, pattern in _UNKNOWN.items():
        if unknown := pattern.search(output):
            return f"llama.cpp does not know the {part} '{unknown[1]}' of {model.name}: {_UPDATE}"
    if _MEMORY.search(output) or status == _KILLED:
        return too_little_memory(model, "the memory of this machine")
    if _DAMAGED.search(output):
        return f"{model} is damaged or incomplete: download or convert it again"
    if wrong := _WRONG.search(output):
        return f"{model} is not a complete model ({wrong[0]}): convert it again"
    if other := _OTHER.search(output):
        return (
            f"llama.cpp cannot load {model} ({other[1]}): download or convert it again; if it is "
            f"newer than your llama.cpp, {_UPDATE}"
        )
    return None


def too_little_memory(model: Path, has: str) -> str:
    return (
        f"{model.name} does not fit into {has}: set a smaller --engine-context or fewer "
        "--engine-workers, or take a smaller model or quantization"
    )
