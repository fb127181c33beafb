"""A checkpoint folder converted to one that transformers, vLLM and the embedded engine can load.

Imports neither stages nor serving: both depend on this module.
"""

import json
import shutil
from pathlib import Path

from ctranslate2.converters import TransformersConverter
from transformers import AutoModelForCausalLM, AutoTokenizer


def convert(checkpoint: Path, folder: Path, transition: str, ctranslate2: bool = True) -> None:
    """Write `checkpoint` to `folder` in every format; an existing `folder` is left as it is.

    The folder holds the weights as safetensors, the tokenizer with its chat template, generation
    defaults and `reasoning_config.json`. It is renamed into place once it is complete.

    Args:
        checkpoint: a folder that transformers can load.
        folder: where to write.
        transition: the sentence that closes a reasoning block which reached its budget.
        ctranslate2: whether to add the weights that the embedded engine reads.
    """
    if folder.is_dir():
        return
    partial = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    if not model.generation_config.do_sample:
        model.generation_config.update(do_sample=True, temperature=0.6, top_p=0.95)
    model.config.use_cache = True
    model.save_pretrained(partial)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(partial)
    if ctranslate2:
        TransformersConverter(str(partial)).convert(str(partial / "ctranslate2"))
    reasoning = {"reasoning_start_str": "<think>", "reasoning_end_str": f"{transition}</think>"}
    (partial / "reasoning_config.json").write_text(json.dumps(reasoning, indent=2) + "\n")
    partial.rename(folder)
