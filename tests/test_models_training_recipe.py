"""Recipes: the shipped ones parse, and a wrong key is named."""

from pathlib import Path

import pytest
from paths import ROOT

from models.training.recipe_file import RecipeError, read_recipe

RECIPES = ROOT / "models" / "recipes"
SMALL = """
name = "small"
[model]
base = "here"
[seed]
source = "stories"
"""


def written(folder: Path, text: str, name: str = "recipe.toml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.toml")), ids=lambda file: file.stem)
def test_every_shipped_recipe_is_usable(file: Path) -> None:
    recipe = read_recipe(file)
    assert recipe.name == file.stem
    assert recipe.data.seed or recipe.seed.source == "file"
    assert recipe.data.train
    assert recipe.data.evaluate


def test_the_paper_s_settings_are_the_32b_recipe_s() -> None:
    recipe = read_recipe(RECIPES / "qwen2.5-32b.toml")
    assert (recipe.tag.learning_rate, recipe.tag.batch, recipe.tag.epochs) == (1e-5, 32, 3)
    assert (recipe.sft.learning_rate, recipe.sft.batch, recipe.sft.epochs) == (1e-5, 96, 2)
    assert (recipe.dpo.learning_rate, recipe.dpo.epochs) == (5e-7, 3)
    assert recipe.model.placement == "system"
    assert recipe.select.with_seed_low


def test_one_recipe_extends_another() -> None:
    under, over = (read_recipe(RECIPES / f"qwen3-8b{end}.toml") for end in ("", "-full"))
    assert under.tag.lora is not None
    assert over.tag.lora is None
    assert over.launch.accelerate == RECIPES / "fsdp.yaml"
    assert over.data == under.data


def test_a_circle_of_recipes_is_refused(tmp_path: Path) -> None:
    written(tmp_path, 'extends = "b.toml"', "a.toml")
    with pytest.raises(RecipeError, match="which extends it"):
        read_recipe(written(tmp_path, 'extends = "a.toml"', "b.toml"))


def test_overrides_are_toml_values_or_bare_words(tmp_path: Path) -> None:
    file = written(tmp_path, SMALL)
    recipe = read_recipe(file, ["sft.epochs=0.5", "mistakes.then=drop", "select.keep_tags=true"])
    assert (recipe.sft.epochs, recipe.mistakes.then, recipe.select.keep_tags) == (0.5, "drop", True)
    with pytest.raises(RecipeError, match="is not key"):
        read_recipe(file, ["epochs"])
    with pytest.raises(RecipeError, match="name is not a table"):
        read_recipe(file, ["name.x=1"])


def test_paths_are_relative_to_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    data = '[data]\ntrain = [{ path = "a.jsonl" }]\n'
    recipe = read_recipe(written(tmp_path, SMALL + data))
    assert recipe.model.base == str(tmp_path / "here")
    assert recipe.data.train[0].path == tmp_path / "a.jsonl"


def test_paths_start_where_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, there = tmp_path / "kept", tmp_path / "there"
    (kept / "here").mkdir(parents=True)
    (there / "model").mkdir(parents=True)
    paths = '[data]\ntrain = [{ path = "a.jsonl" }]\n[launch]\naccelerate = "fsdp.yaml"\n'
    written(kept, SMALL + paths)
    mine = written(tmp_path, 'extends = "kept/recipe.toml"', "mine.toml")
    recipe = read_recipe(mine)
    assert recipe.model.base == str(kept / "here")
    assert recipe.data.train[0].path == kept / "a.jsonl"
    assert recipe.launch.accelerate == kept / "fsdp.yaml"
    monkeypatch.chdir(there)
    recipe = read_recipe(mine, ["model.base=model", "data.train=[{path='b.jsonl'}]"])
    assert recipe.model.base == str(there / "model")
    assert recipe.data.train[0].path == there / "b.jsonl"


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[tag]\nlearning_rte = 1", "tag.learning_rte: Extra inputs"),
        ('[tag]\nepochs = "many"', "tag.epochs: Input should be a valid number"),
        ("[tag]\nbatch = 0", "tag.batch: Input should be greater"),
        ('[data]\ntrain = [{ public = "gsm9k" }]', "data.train.0.public: Input should be"),
        ("[data]\ntrain = [{ limit = 3 }]", "exactly one of stories, reasoning_gym, path, dataset"),
        ('[engine]\nkind = "urls"', "urls are needed"),
        ('[mistakes]\nfound_by = "critic"', "a critic needs"),
        ("[[[", "cannot be read"),
        ("[data]\ntrain = [{ stories = { n = 3, steps = [5, 2] } }]", "steps: .*smallest and"),
        ("[tag]\nepochs = -1", "tag.epochs: Input should be greater than 0"),
        ("[tag]\nepochs = inf", "tag.epochs: Input should be a finite number"),
        ("[sft]\nlearning_rate = 0", "sft.learning_rate: Input should be greater than 0"),
        ("[dpo]\nbeta = 0", "dpo.beta: Input should be greater than 0"),
        ('[sft]\nschedule = "cosin"', "sft.schedule: Input should be 'linear', 'cosine'"),
        ("[tag]\nbatch = 10\nmicro_batch = 4", "tag.batch = 10 does not divide into 1 launch.proc"),
        ("[launch]\nprocesses = 3", "tag.batch = 32 does not divide into 3 launch.processes"),
        ('[export]\nrouter_efforts = ["xhigh"]', "export.router_efforts has xhigh, model.efforts"),
    ],
)
def test_an_invalid_key_or_value_is_named(tmp_path: Path, toml: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("[", r"\[")):
        read_recipe(written(tmp_path, f"{SMALL}{toml}\n"))


def test_a_model_needs_what_its_placement_needs(tmp_path: Path) -> None:
    file = written(tmp_path, SMALL)
    with pytest.raises(RecipeError, match="one of system_prompts for each effort"):
        read_recipe(file, ["model.placement=system"])
    tags = "model.tags={low='a',medium='b',high='c'}"
    prompts = "model.system_prompts={low='a',medium='b',high='c'}"
    with pytest.raises(RecipeError, match='tags need placement = "generation"'):
        read_recipe(file, ["model.placement=system", prompts, tags])
    with pytest.raises(RecipeError, match='system_prompts need placement = "system"'):
        read_recipe(file, [prompts])
    with pytest.raises(RecipeError, match="efforts are not cheapest first"):
        read_recipe(file, ["model.efforts=['high','low']"])
    with pytest.raises(RecipeError, match="either base or scratch"):
        read_recipe(file, ["model.scratch.tokens=5"])
    with pytest.raises(RecipeError, match=r"seed\.teacher"):
        read_recipe(file, ["seed.source=teacher"])


GRPO = "[grpo.efforts]\nauto = { limit = 400 }\n"


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[grpo]\nbatch = 8\nsamples = 4", "grpo.efforts: Field required"),
        ("[grpo]\nefforts = {}", "grpo: .*efforts needs at least one table"),
        ("[grpo]\nbatch = 20\n" + GRPO, "20 is no multiple of samples = 16"),
        (
            "[launch]\nprocesses = 2\n[grpo]\nbatch = 32\nsamples = 32\n" + GRPO,
            "each of 2 launch.processes has 16 rollouts .* no multiple of grpo.samples = 32",
        ),
        ("[grpo]\nsamples = 1\n" + GRPO, "grpo.samples: Input should be greater than or equal"),
        ("[grpo]\nclip_high = 0.1\n" + GRPO, "clip_high is below clip_low"),
        ('[grpo]\nreward = "short"\n' + GRPO, "grpo.reward: .*there is no reward 'short'"),
        ('[grpo]\nrollouts = "vllm"\nexplore = 0.5\n' + GRPO, "explore and borrow need rollouts"),
        ('[grpo]\nvllm_url = "http://h"\n' + GRPO, "vllm_url needs rollouts"),
        ("[grpo.efforts]\nauto = { limit = 0 }", "grpo.efforts.auto.limit: Input should be"),
        ("[grpo.efforts]\nxhigh = { limit = 9 }", "grpo.efforts has xhigh, model.efforts not"),
        ('[grpo]\nborrow = ["low"]\n' + GRPO, "borrow must name efforts of the table efforts"),
        ('[export]\nstage = "grpo"', r"needs the table \[grpo\]"),
        ('[evaluate]\nbesides = ["grpo"]', r"needs the table \[grpo\]"),
        ('[grpo]\nstart = "base"\n' + GRPO, 'export.stage="grpo"'),
    ],
)
def test_a_wrong_grpo_table_is_named(tmp_path: Path, toml: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(written(tmp_path, f"{SMALL}{toml}\n"))
