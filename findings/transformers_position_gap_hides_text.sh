#!/bin/sh
# transformers 5.24.0: a gap in `position_ids` hides all text before it, where no attention mask is given.
#
# Guess: `position_ids` only say where tokens stand; the mask stays causal. Training with gaps (to reach a longer context
# from short samples, as in PoSE) or with shifted parts then needs nothing else.
# Seen: where positions do not grow by one, the library takes the place for the border of two packed sequences, and no token
# behind it attends to one before it. It does so where `attention_mask` is None and no cache is used, as in training; a mask
# of ones, which says the same, gives the result that one expects, and so does `use_cache=True`. There is no warning.
# Hurts: whoever trains with positions of his own, such as for longer contexts, and pads on the right without a mask.
# Remedy: pass `attention_mask=torch.ones_like(input_ids)`, or a mapping of masks of one's own.
# Source: transformers/masking_utils.py, `find_packed_sequence_indices` and its callers.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check transformers==5.24.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

torch.manual_seed(0)
model = Qwen3ForCausalLM(Qwen3Config(
    vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=2, head_dim=16, bos_token_id=None, eos_token_id=1, pad_token_id=0,
)).eval()
text = torch.randint(2, 64, (1, 12))
changed = text.clone()
changed[0, 0] = 63 if int(text[0, 0]) != 63 else 62
gap = torch.tensor([[*range(6), *range(1006, 1012)]])
ones = torch.ones_like(text)


def influence(**arguments: torch.Tensor) -> float:
    """How far the first token moves the logits of the last."""
    with torch.no_grad():
        return float((model(text, use_cache=False, **arguments).logits - model(changed, use_cache=False, **arguments).logits)[0, -1].abs().max())


no_gap, with_gap, with_mask = influence(), influence(position_ids=gap), influence(position_ids=gap, attention_mask=ones)
print(f"influence of the first token on the last logits: {no_gap:.2g} without a gap, {with_gap:.2g} with one,")
print(f"{with_mask:.2g} with the gap and an attention mask of ones")
assert no_gap > 0 and with_mask > 0 and with_gap == 0, "the behaviour has changed"
PYTHON
