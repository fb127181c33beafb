"""A base in GGUF: its chat template gets tags, and an adapter trains on its weights in bfloat16."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import smollm2
from paths import ROOT
from training_runs import ENVIRONMENT

from models.training.chat import Chat, add_tags
from models.training.examples import Example
from models.training.recipe import Model
from models.training.recipe_tuning import FineTuning, Lora

pytest.importorskip("trl", reason="needs the extra [train]: make test-train")

TAGS: dict[Any, str] = {"low": "[low]", "medium": "[medium]", "high": "[high]"}


@pytest.mark.slow
def test_an_adapter_is_trained_on_smollm2(tmp_path: Path) -> None:
    tokenizer = smollm2.tokenizer()
    own = tokenizer.chat_template
    add_tags(tokenizer, TAGS)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    chat = Chat.of(Model(base=str(smollm2.gguf()), tags=TAGS), tokenizer)
    samples = [Example("a", "1+1?", effort, "1+1=2", "2", 9).encode(chat) for effort in TAGS]
    tokenizer.chat_template = own
    lines = [json.dumps({"input_ids": s.ids, "labels": s.labels}) for s in samples]
    (tmp_path / "tokens.jsonl").write_text("\n".join(lines) + "\n")
    lora = Lora(rank=2, weights="bfloat16")
    settings = FineTuning(learning_rate=1e-3, batch=3, micro_batch=3, epochs=3, lora=lora)
    job = {
        "method": "sft",
        "model": str(smollm2.gguf()),
        "new_tokens": [],
        "tokenizer": str(tmp_path / "tokenizer"),
        "settings": settings.model_dump(mode="json"),
        "seed": 3,
        "name": "smollm2-test",
        "report_to": ["tensorboard"],
    }
    (tmp_path / "tuning.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "models.training.trl_worker", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, env=ENVIRONMENT)
    transformers: Any = importlib.import_module("transformers")
    trained = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert str(trained.dtype) == "torch.bfloat16"
    assert not hasattr(trained.config, "quantization_config")
    adapter: Any = importlib.import_module("safetensors.torch").load_file(
        tmp_path / "adapter" / "adapter_model.safetensors"
    )
    assert {str(weights.dtype) for weights in adapter.values()} == {"torch.float32"}
    assert any(weights.abs().max() > 0 for name, weights in adapter.items() if "lora_B" in name)
    shutil.rmtree(tmp_path / "model")
