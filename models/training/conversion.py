"""A checkpoint folder converted to one that transformers, vLLM and the embedded engine can load.

Imports neither stages nor serving: both depend on this module.
"""

import json
import shutil
from pathlib import Path

from ctranslate2.converters import TransformersConverter
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.training.gguf_file import ConversionError, write_gguf
from models.training.pretrained import origin, weights_origin
from models.training.run import RunError


def convert(
    checkpoint: Path,
    folder: Path,
    transition: str,
    ctranslate2: bool = True,
    temperature: float = 0.6,
    top_p: float = 0.95,
) -> None:
    """Write `checkpoint` to `folder` in every format; an existing `folder` is left as it is.

    The folder holds the weights as safetensors, the tokenizer with its chat template, generation
    defaults and `reasoning_config.json`. It is renamed into place once it is complete.

    Args:
        checkpoint: a folder that transformers can load, or a GGUF file.
        folder: where to write.
        transition: the sentence that closes a reasoning block which reached its budget.
        ctranslate2: whether to add the weights that the embedded engine reads.
        temperature: of requests that have none, unless the checkpoint says.
        top_p: likewise.

    Raises:
        RunError: the embedded engine does not know its architecture.
    """
    if folder.is_dir():
        return
    partial = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    model = AutoModelForCausalLM.from_pretrained(**weights_origin(str(checkpoint)))
    if not model.generation_config.do_sample:
        model.generation_config.update(do_sample=True, temperature=temperature, top_p=top_p)
    model.config.use_cache = True
    model.save_pretrained(partial)
    AutoTokenizer.from_pretrained(**origin(str(checkpoint))).save_pretrained(partial)
    if ctranslate2:
        try:
            TransformersConverter(str(partial)).convert(str(partial / "ctranslate2"))
        except ValueError as error:  # it does not know the architecture
            raise RunError(
                f"{checkpoint} cannot be converted for the embedded engine: {error}; set "
                "export.ctranslate2 = false, and another engine.kind"
            ) from error
    reasoning = {"reasoning_start_str": "<think>", "reasoning_end_str": f"{transition}</think>"}
    (partial / "reasoning_config.json").write_text(json.dumps(reasoning, indent=2) + "\n")
    partial.rename(folder)


def convert_to_gguf(checkpoint: Path, file: Path) -> None:
    """Write `checkpoint` as a GGUF file of eight bits; an existing `file` is left as it is.

    Raises:
        RunError: its architecture or tokenizer cannot be converted.
    """
    if file.exists():
        return
    folder, partial = file.with_suffix(".float32"), file.with_suffix(".part")
    shutil.rmtree(folder, ignore_errors=True)
    AutoModelForCausalLM.from_pretrained(checkpoint, dtype="float32").save_pretrained(
        folder, max_shard_size="1TB"
    )
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(folder)
    try:
        write_gguf(folder, partial, eight_bits=True)
    except ConversionError as error:
        raise RunError(f'{error}, and serve it with engine.kind = "urls"') from error
    shutil.rmtree(folder)
    partial.rename(file)
