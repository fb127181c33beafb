#!/bin/sh
# TRL 1.16.0 with peft 0.21.2: `SFTTrainer` fails on an adapter with `trainable_token_indices` where embeddings are tied.
#
# Guess: peft's way to train the rows of added tokens, `LoraConfig(trainable_token_indices=...)`, works in TRL's trainers:
# it does in a plain loop, for tied and untied models, and both libraries call themselves integrated.
# Seen: the first step of a model with tied embeddings (Qwen3 below 8B, SmolLM2, Gemma, Llama 3.2) ends in "AttributeError:
# 'TrainableTokensWrapper' object has no attribute 'bias'". TRL multiplies by `lm_head.weight` itself and adds `lm_head.bias`;
# peft has wrapped the tied head, too. The same adapter trains where the embeddings are not tied.
# Hurts: whoever adds tokens (reasoning efforts' tags) and trains an adapter. Without the option the rows stay as drawn.
# Remedy: wrap the model oneself while `config.tie_word_embeddings` is false, then set it back and tie after merging.
# Source: trl/trainer/utils.py, the fused LM head; peft/utils/other.py, `AuxiliaryTrainingWrapper.__getattr__`.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check trl==1.16.0 peft==0.21.2 transformers==5.24.0
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from trl import SFTConfig, SFTTrainer

words = {word: number for number, word in enumerate(["<pad>", "<eos>", "a", "b", "[low]"])}
inner = Tokenizer(models.WordLevel(words, unk_token="a"))
inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>")
adapter = LoraConfig(target_modules=["q_proj"], trainable_token_indices=[4], task_type="CAUSAL_LM")
data = Dataset.from_list([{"input_ids": [4, 2, 3, 1], "labels": [-100, 2, 3, 1]}] * 4)


def model(tied: bool) -> Qwen3ForCausalLM:
    config = Qwen3Config(
        vocab_size=5, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, head_dim=8, tie_word_embeddings=tied, bos_token_id=None, eos_token_id=1, pad_token_id=0,
    )
    return Qwen3ForCausalLM(config)


def plain(tied: bool) -> str:
    adapted = get_peft_model(model(tied), adapter)
    ids = torch.tensor([[4, 2, 3, 1]])
    adapted(input_ids=ids, labels=ids).loss.backward()
    return "works"


def by_trl(tied: bool) -> str:
    settings = SFTConfig(
        "out", max_steps=1, use_cpu=True, bf16=False, report_to=[], max_length=None, disable_tqdm=True,
        save_strategy="no", dataset_kwargs={"skip_prepare_dataset": True},
    )
    trainer = SFTTrainer(model(tied), args=settings, train_dataset=data, processing_class=tokenizer, peft_config=adapter)
    try:
        trainer.train()
    except AttributeError as error:
        return f"AttributeError: {error}"
    return "works"


seen = {(name, tied): run(tied) for name, run in (("plain loop", plain), ("TRL", by_trl)) for tied in (False, True)}
for (name, tied), result in seen.items():
    print(f"{name}, embeddings {'tied' if tied else 'not tied'}: {result}")
assert seen["plain loop", False] == seen["plain loop", True] == seen["TRL", False] == "works", "the behaviour has changed"
assert "no attribute 'bias'" in seen["TRL", True], "the behaviour has changed"
PYTHON
