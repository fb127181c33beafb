"""Writes a checkpoint of the demo's architecture as a GGUF file, for llama.cpp.

`python -m models.training.gguf_file FOLDER FILE.gguf`. Other models are converted by llama.cpp's
own `convert_hf_to_gguf.py`, which knows their tokenizers.
"""

import json
from pathlib import Path
from typing import Any

import click
import gguf
import numpy as np
from safetensors.numpy import load_file  # pyright: ignore[reportUnknownVariableType]

_ARCHITECTURE = "Qwen3ForCausalLM"
_TOKENIZER, _PRE_TOKENIZER = "gpt2", "gpt-2"
"""Byte-level BPE. The pre-tokenizer does not take digits one by one, as the checkpoint's does; no
merge joins digits, so that the tokens are the same."""

_END_TAG = "</think>"


class ConversionError(Exception):
    """The checkpoint is of another architecture."""


def write_gguf(folder: Path, file: Path) -> None:
    """Write the weights, the tokenizer and the chat template of `folder` to `file`.

    Raises:
        ConversionError: the checkpoint is of another architecture.
    """
    config = _read(folder / "config.json")
    if config.get("architectures") != [_ARCHITECTURE]:
        raise ConversionError(
            f"{folder} is no {_ARCHITECTURE}: convert it with llama.cpp's convert_hf_to_gguf.py"
        )
    writer = gguf.GGUFWriter(file, "qwen3")
    _add_model(writer, config)
    _add_tokenizer(writer, _read(folder / "tokenizer.json"), config)
    writer.add_name(folder.resolve().name)
    writer.add_chat_template((folder / "chat_template.jinja").read_text())
    closing = _read(folder / "reasoning_config.json")["reasoning_end_str"]
    writer.add_string("tops.transition", closing.removesuffix(_END_TAG))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, config["num_hidden_layers"])
    for name, weights in load_file(folder / "model.safetensors").items():
        tensor = names.get_name(name, try_suffixes=(".weight",))
        if tensor is None:
            raise ConversionError(f"{folder}: GGUF has no name for the weights {name}")
        writer.add_tensor(tensor, np.ascontiguousarray(weights, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_model(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])


def _add_tokenizer(
    writer: gguf.GGUFWriter, tokenizer: dict[str, Any], config: dict[str, Any]
) -> None:
    model, added = tokenizer["model"], tokenizer["added_tokens"]
    control = {token["id"] for token in added if token["special"]}
    texts: dict[int, str] = {number: text for text, number in model["vocab"].items()}
    texts |= {token["id"]: token["content"] for token in added}
    kinds, tokens = list[gguf.TokenType](), list[str]()
    for number in range(config["vocab_size"]):  # which may be rounded up
        known = gguf.TokenType.CONTROL if number in control else gguf.TokenType.NORMAL
        kinds.append(known if number in texts else gguf.TokenType.UNUSED)
        tokens.append(texts.get(number, f"[PAD{number}]"))
    writer.add_tokenizer_model(_TOKENIZER)
    writer.add_tokenizer_pre(_PRE_TOKENIZER)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text())


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("file", type=click.Path(path_type=Path))
def main(folder: Path, file: Path) -> None:
    """Write the checkpoint in FOLDER as the GGUF file FILE."""
    try:
        write_gguf(folder, file)
    except (ConversionError, OSError, KeyError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main(prog_name="python -m models.training.gguf_file")
