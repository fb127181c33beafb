"""What a recipe says of a training reaches the trainer: a model of a few thousand weights."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

from models.training.recipe_tuning import FineTuning, Lora

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
torch: Any = pytest.importorskip("torch", reason="needs the extra [train]")
transformers: Any = pytest.importorskip("transformers", reason="needs the extra [train]")
pytest.importorskip("trl", reason="needs the extra [train]")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("base")
    tokenizer = transformers.AutoTokenizer.from_pretrained(ROOT / "models" / "demo")
    tokenizer.save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def rows(count: int) -> list[dict[str, list[int]]]:
    """Of different lengths; the first two tokens are the prompt."""
    ids = [[5, 6, *(7 + (row + place) % 9 for place in range(3 + row % 4))] for row in range(count)]
    return [{"input_ids": row, "labels": [-100, -100, *row[2:]]} for row in ids]


def trained(base: Path, folder: Path, settings: FineTuning, held_out: int = 0) -> dict[str, Any]:
    """The summary of a training by the worker."""
    worker = importlib.import_module("models.training.trl_worker")
    folder.mkdir()
    files = {"tokens.jsonl": rows(12), "held_out.jsonl": rows(held_out)}
    for name, content in files.items():
        if content:
            (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in content))
    job = {
        "method": "sft", "model": str(base), "new_tokens": [], "tokenizer": str(base), "seed": 3,
        "settings": settings.model_dump(mode="json"), "name": "test", "report_to": ["tensorboard"],
    }  # fmt: skip
    (folder / "tuning.json").write_text(json.dumps(job))
    worker.train(folder)
    return json.loads((folder / "training.json").read_text())


def settings(**changes: Any) -> FineTuning:
    return FineTuning(
        **{"learning_rate": 1e-2, "batch": 4, "micro_batch": 2, "epochs": 2, **changes}
    )


def weights(folder: Path) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "model")
    return model.model.embed_tokens.weight.detach()


def test_rows_without_padding_train_the_same_model(base: Path, tmp_path: Path) -> None:
    padded = trained(base, tmp_path / "padded", settings())
    free = trained(base, tmp_path / "free", settings(padding_free=True))
    assert padded["steps"] == free["steps"] == 6
    assert free["loss"] == pytest.approx(padded["loss"], abs=1e-4)
    assert torch.allclose(weights(tmp_path / "free"), weights(tmp_path / "padded"), atol=1e-4)
    assert not torch.allclose(weights(tmp_path / "free")[5:16], initial(base)[5:16], atol=1e-4)


def initial(base: Path) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    return model.model.embed_tokens.weight.detach()


def test_steps_held_out_rows_and_attention_are_as_the_recipe_says(
    base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    chosen = settings(max_steps=4, evaluate_steps=2, attention="eager", lora=Lora(rank=2))
    summary = trained(base, tmp_path / "run", chosen, held_out=3)
    assert summary["steps"] == 4
    state = json.loads((tmp_path / "run" / "logs" / "trainer_state.json").read_text())
    measured = [row["step"] for row in state["log_history"] if "eval_loss" in row]
    assert measured == [2, 4, 4]  # and once more at the end
    assert summary["held_out_loss"] == pytest.approx(state["log_history"][-1]["eval_loss"])
    assert "step 2, loss of held-out rows" in capfd.readouterr().err
    with pytest.raises(SystemExit, match=r"flash cannot start with .*[Ff]lash"):
        trained(base, tmp_path / "flash", settings(attention="flash_attention_2"))
    with pytest.raises(SystemExit, match=r"lora cannot start with .*nothing"):
        trained(base, tmp_path / "lora", settings(lora=Lora(targets=["nothing"])))


def test_a_training_whose_loss_is_no_number_ends(base: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"the loss is nan: set a lower learning_rate"):
        trained(base, tmp_path / "run", settings(learning_rate=1e38, epochs=10))
    assert not (tmp_path / "run" / "model").exists()
