"""The exported folder's sampling defaults: those of its base, else those of the recipe."""

from pathlib import Path

import pytest

pytest.importorskip("trl", reason="needs the extra [train]: make test-train")

from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Olmo2Config,
    Olmo2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from models.training.chat import Chat, add_tags
from models.training.conversion import convert
from models.training.export import router_efforts, served_sampling, without_router
from models.training.recipe import Recipe
from models.training.recipe_engine import Sampling
from models.training.recipe_file import read_recipe
from models.training.run import RunError

DEMO = Path(__file__).parents[1] / "models" / "demo"


@pytest.mark.parametrize("own", [None, {"do_sample": True, "temperature": 0.3, "top_k": 20}])
def test_the_recipe_s_defaults_hold_where_the_base_has_none(
    own: dict[str, float] | None, tmp_path: Path
) -> None:
    config = Qwen3Config(
        vocab_size=512, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, head_dim=8, bos_token_id=None,
        eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    if own:
        model.generation_config.update(**own)
    model.save_pretrained(tmp_path / "base")
    AutoTokenizer.from_pretrained(DEMO).save_pretrained(tmp_path / "base")
    convert(tmp_path / "base", tmp_path / "model", "Stop.", False, temperature=0.7, top_p=0.9)
    expected = Sampling(temperature=0.3, top_k=20) if own else Sampling(temperature=0.7, top_p=0.9)
    assert served_sampling(tmp_path / "model") == expected
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").config.vocab_size == 512


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("{{ '<think></think>' if not enable_thinking }}", ("none", "low", "high")),
        ("", ("low", "high")),  # the prompt of `none` would be that of `auto`
        ("{{ raise_exception('think!') if reasoning_effort == 'none' }}", ("low", "high")),
    ],
)
def test_a_router_is_fitted_at_the_efforts_that_the_model_has(
    ending: str, expected: tuple[str, ...]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    tokenizer.chat_template = "{{ messages[-1].content }}" + ending
    tags = {"low": "[l]", "high": "[h]"}
    add_tags(tokenizer, tags)
    model = {"base": "x", "efforts": ["low", "high"], "tags": tags}
    recipe = Recipe.model_validate({"name": "r", "model": model, "seed": {"source": "stories"}})
    assert tuple(router_efforts(recipe, Chat(tokenizer))) == expected


def test_a_model_that_was_not_trained_at_its_efforts_has_no_router() -> None:
    smoke = DEMO.parent / "recipes" / "smoke.toml"
    assert without_router(read_recipe(smoke), "dpo") is None
    untagged = read_recipe(smoke, ["select.keep_tags=false"])
    assert "not trained at its efforts" in (without_router(untagged, "dpo") or "")
    assert without_router(untagged, "tag") is None
    named = read_recipe(smoke, ["select.keep_tags=false", "export.router_efforts=['low','high']"])
    assert without_router(named, "dpo") is None
    assert "data.router" in (without_router(read_recipe(smoke, ["data.router=[]"]), "dpo") or "")


def test_an_architecture_that_the_embedded_engine_lacks_is_named(tmp_path: Path) -> None:
    config = Olmo2Config(
        vocab_size=512, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    Olmo2ForCausalLM(config).save_pretrained(tmp_path / "base")
    AutoTokenizer.from_pretrained(DEMO).save_pretrained(tmp_path / "base")
    with pytest.raises(RunError, match=r"Olmo2.*set export\.ctranslate2 = false"):
        convert(tmp_path / "base", tmp_path / "model", "Stop.")
    convert(tmp_path / "base", tmp_path / "model", "Stop.", ctranslate2=False)
