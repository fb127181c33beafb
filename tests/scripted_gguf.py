"""A GGUF model that says what a script has: llama.cpp runs it as it does any other.

Its attention and its feed-forward layers are zero, so that the next token follows from the present
one alone: each piece of a script from the piece before it, and the first from the prompt's end.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import gguf
import numpy as np

_CONTROL = ["<unk>", "<s>", "</s>"]
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_EOS, _FIRST_BYTE = 2, len(_CONTROL)
_WIDTH_STEP = 32


def write_scripted_gguf(
    file: Path, template: str, scripts: Mapping[str, Sequence[str]], context: int = 4096
) -> Path:
    """Write a model that answers with the script of the character in which the prompt ends."""
    pieces = [piece for script in scripts.values() for piece in script]
    tokens = [*_CONTROL, *_BYTES, *pieces]
    width = -(-len(tokens) // _WIDTH_STEP) * _WIDTH_STEP
    embeddings = np.zeros((len(tokens), width), np.float32)
    embeddings[np.arange(len(tokens)), np.arange(len(tokens))] = 1
    output = np.zeros((len(tokens), width), np.float32)
    number = len(_CONTROL) + len(_BYTES)
    for character, script in scripts.items():
        present = _FIRST_BYTE + ord(character)
        for _ in script:
            output[number, present] = 1
            present, number = number, number + 1
        output[_EOS, present] = 1
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(_WIDTH_STEP)
    writer.add_block_count(1)
    writer.add_head_count(width // _WIDTH_STEP)
    writer.add_head_count_kv(width // _WIDTH_STEP)
    writer.add_rope_dimension_count(_WIDTH_STEP)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2, *[gguf.TokenType.BYTE] * 256]
    writer.add_token_types([*kinds, *[gguf.TokenType.NORMAL] * len(pieces)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(_EOS)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(template)
    writer.add_tensor("token_embd.weight", embeddings)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    layer = {"attn_norm": np.ones(width), "ffn_norm": np.ones(width)}
    layer |= {f"attn_{name}": np.zeros((width, width)) for name in ("q", "k", "v", "output")}
    layer |= {f"ffn_{name}": np.zeros((_WIDTH_STEP, width)) for name in ("gate", "up")}
    layer["ffn_down"] = np.zeros((width, _WIDTH_STEP))
    for name, weights in layer.items():
        writer.add_tensor(f"blk.0.{name}.weight", weights.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
