"""Writes a checkpoint of Qwen3's or Llama's architecture as a GGUF file, for llama.cpp.

`python -m models.training.gguf_file FOLDER FILE.gguf`. Tokenizers are byte-level BPE, like
those of the demo and SmolLM2. Other models are converted by llama.cpp's own
`convert_hf_to_gguf.py`, which knows their tokenizers.
"""

import json
from pathlib import Path
from typing import Any

import click
import gguf
import numpy as np
from safetensors.numpy import load_file  # pyright: ignore[reportUnknownVariableType]

_ARCHITECTURES = {
    "Qwen3ForCausalLM": gguf.MODEL_ARCH.QWEN3,
    "LlamaForCausalLM": gguf.MODEL_ARCH.LLAMA,
}
_TOKENIZER, _PRE_TOKENIZER = "gpt2", "gpt-2"
"""Byte-level BPE. The pre-tokenizer does not take digits one by one, as the checkpoint's does; no
merge joins digits, so that the tokens are the same."""

_Q8_BLOCK = 32
"""Weights that share a scale in Q8_0."""

_END_TAG = "</think>"


Matrix = np.ndarray[Any, np.dtype[np.float32]]


class ConversionError(Exception):
    """The checkpoint cannot be converted; the message says why."""


def write_gguf(folder: Path, file: Path, eight_bits: bool = False) -> None:
    """Write the weights, the tokenizer and the chat template of `folder` to `file`.

    Args:
        folder: a checkpoint in float32.
        file: the GGUF file.
        eight_bits: whether matrices are written as Q8_0, else all in float32.

    Raises:
        ConversionError: the checkpoint is of another architecture, or its tokenizer is no BPE.
    """
    config, tokenizer = _read(folder / "config.json"), _read(folder / "tokenizer.json")
    architecture = _ARCHITECTURES.get((config.get("architectures") or [""])[0])
    if architecture is None or tokenizer["model"]["type"] != "BPE":
        raise ConversionError(
            f"{folder} is none of {', '.join(_ARCHITECTURES)} with a BPE tokenizer: convert it "
            "with llama.cpp's convert_hf_to_gguf.py"
        )
    writer = gguf.GGUFWriter(file, gguf.MODEL_ARCH_NAMES[architecture])
    _add_model(writer, config, eight_bits)
    _add_tokenizer(writer, tokenizer, config)
    writer.add_name(folder.resolve().name)
    writer.add_chat_template((folder / "chat_template.jinja").read_text())
    _add_sampling(writer, folder / "generation_config.json")
    reasoning = folder / "reasoning_config.json"
    if reasoning.is_file():
        closing = _read(reasoning)["reasoning_end_str"]
        writer.add_string("tops.transition", closing.removesuffix(_END_TAG))
    names = gguf.get_tensor_name_map(architecture, config["num_hidden_layers"])
    for name, tensor in load_file(folder / "model.safetensors").items():
        known = names.get_name(name, try_suffixes=(".weight",))
        if known is None:
            raise ConversionError(f"{folder}: GGUF has no name for the weights {name}")
        weights = np.ascontiguousarray(tensor, np.float32)
        if architecture is gguf.MODEL_ARCH.LLAMA:
            weights = _interleaved(name, weights, config)
        _add_weights(writer, known, weights, eight_bits)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _interleaved(name: str, weights: Matrix, config: dict[str, Any]) -> Matrix:
    """Rows of queries and keys as llama.cpp rotates them: in pairs, not in halves."""
    heads = {
        "q_proj.weight": config["num_attention_heads"],
        "k_proj.weight": config["num_key_value_heads"],
    }.get(name.rpartition("self_attn.")[2])
    if heads is None:
        return weights
    halves = weights.reshape(heads, 2, -1, weights.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(weights.shape)


def _add_weights(writer: gguf.GGUFWriter, name: str, weights: Matrix, eight_bits: bool) -> None:
    if eight_bits and weights.ndim == 2 and weights.shape[1] % _Q8_BLOCK == 0:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(weights, kind), raw_dtype=kind)
    else:
        writer.add_tensor(name, weights)


def _add_model(writer: gguf.GGUFWriter, config: dict[str, Any], eight_bits: bool) -> None:
    kind = gguf.LlamaFileType.MOSTLY_Q8_0 if eight_bits else gguf.LlamaFileType.ALL_F32
    writer.add_file_type(kind)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    head_size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_rope_dimension_count(head_size)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])


def _add_sampling(writer: gguf.GGUFWriter, file: Path) -> None:
    """The checkpoint's defaults for requests, which would else be llama.cpp's own."""
    defaults = _read(file) if file.is_file() else {}
    writer.add_sampling_temp(defaults.get("temperature", 1.0))
    writer.add_sampling_top_p(defaults.get("top_p", 1.0))
    writer.add_sampling_top_k(defaults.get("top_k", 0))
    writer.add_sampling_min_p(defaults.get("min_p", 0.0))


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
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    writer.add_token_merges(merges)
    writer.add_eos_token_id(config["eos_token_id"])
    if config.get("pad_token_id") is not None:
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
