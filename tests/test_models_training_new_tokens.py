"""Tokens that a recipe adds: their rows differ from the start, and an adapter trains them."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from engines import DEMO
from paths import ROOT
from training_runs import ENVIRONMENT

pytest.importorskip("trl", reason="needs the extra [train]: make test-train")

import torch

from models.training.chat import Chat, add_tags
from models.training.examples import Example
from models.training.new_tokens import add_rows
from models.training.recipe import Model
from models.training.recipe_tuning import FineTuning, Lora

transformers: Any = importlib.import_module("transformers")  # not typed

TAGS: dict[Any, str] = {"low": "[low]", "medium": "[medium]", "high": "[high]"}
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture
def tokenizer() -> Any:
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(DEMO)
    tokenizer.chat_template = TEMPLATE
    tokenizer.add_tokens([*TAGS.values()])
    add_tags(tokenizer, TAGS)
    return tokenizer


def rows_of(model: Any, tokenizer: Any) -> torch.Tensor:
    weights = model.get_input_embeddings().weight.detach().float()
    return weights[tokenizer.convert_tokens_to_ids([*TAGS.values()])]


def started(tokenizer: Any) -> Any:
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(DEMO, dtype=torch.float32)
    add_rows(model, tokenizer, transformers.AutoTokenizer.from_pretrained(DEMO), seed=3)
    return model


def test_rows_are_drawn_apart_and_alike_in_every_process(tokenizer: Any) -> None:
    rows = rows_of(started(tokenizer), tokenizer)
    base: Any = transformers.AutoModelForCausalLM.from_pretrained(DEMO, dtype=torch.float32)
    apart = rows - base.get_input_embeddings().weight.mean(dim=0)
    cosines = torch.nn.functional.cosine_similarity(apart[:, None], apart[None], dim=-1)
    assert cosines.fill_diagonal_(0).abs().max() < 0.5
    assert torch.equal(rows, rows_of(started(tokenizer), tokenizer))
    model = started(tokenizer)
    add_rows(model, tokenizer, tokenizer, seed=4)  # a later stage, whose model has them
    assert torch.equal(rows, rows_of(model, tokenizer))


def test_an_adapter_trains_the_rows(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    chat = Chat.of(Model(base=str(DEMO), tags=TAGS), tokenizer)
    samples = [
        Example(str(n), f"Kim has {n} pens.", effort, "1+1=2", "2", 9).encode(chat)
        for n in range(4)
        for effort in TAGS
    ]
    lines = [json.dumps({"input_ids": s.ids, "labels": s.labels}) for s in samples]
    (tmp_path / "tokens.jsonl").write_text("\n".join(lines) + "\n")
    settings = FineTuning(learning_rate=1e-2, batch=4, micro_batch=4, epochs=2, lora=Lora(rank=2))
    job = {
        "method": "sft",
        "model": str(DEMO),
        "new_tokens": [*TAGS.values()],
        "tokenizer": str(tmp_path / "tokenizer"),
        "settings": settings.model_dump(mode="json"),
        "name": "rows",
        "report_to": [],
        "seed": 3,
    }
    (tmp_path / "tuning.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "models.training.trl_worker", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, env=ENVIRONMENT)
    trained: Any = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    before, after = started(tokenizer), trained
    moved = (rows_of(after, tokenizer) - rows_of(before, tokenizer)).abs().amax(dim=1)
    assert moved.min() > 1e-3
    other = tokenizer.convert_tokens_to_ids("pens")
    weights = [m.get_input_embeddings().weight[other] for m in (before, after)]
    assert torch.equal(*weights)
    assert after.lm_head.weight.data_ptr() == after.get_input_embeddings().weight.data_ptr()
