"""Export a checkpoint: `python -m models.export CHECKPOINT FOLDER`.

The folder loads as it is in transformers and vLLM (safetensors, tokenizer, chat template) and in
the embedded engine (`ctranslate2/`, `reasoning_config.json`).
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from ctranslate2.converters import TransformersConverter
from transformers import AutoTokenizer, Qwen3ForCausalLM

from models.traces import TRANSITION


def export(checkpoint: Path, folder: Path) -> None:
    """Write every format of `checkpoint` to `folder`, replacing what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    model = Qwen3ForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model.generation_config.update(do_sample=True, temperature=0.6, top_p=0.95)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    TransformersConverter(str(folder)).convert(str(folder / "ctranslate2"))
    reasoning = {"reasoning_start_str": "<think>", "reasoning_end_str": f"{TRANSITION}</think>"}
    (folder / "reasoning_config.json").write_text(json.dumps(reasoning, indent=2) + "\n")


def main() -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    export(arguments.checkpoint, arguments.folder)


if __name__ == "__main__":
    main()
