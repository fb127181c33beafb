"""`tops train plan`: figures by hand, and the refusal of what cannot fit."""

import gzip
import json
from pathlib import Path

import pytest
from paths import ROOT

from models.training.plan import check_fits, dimensions_of, plan_of
from models.training.recipe_file import read_recipe
from models.training.recipe_plan import Plan
from models.training.run import RunError
from tops import main

RECIPES = ROOT / "models" / "recipes"
QWEN3_8B = {
    "hidden_size": 4096,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 12288,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
}


def test_dimensions_give_the_published_numbers_of_parameters() -> None:
    size = dimensions_of(QWEN3_8B)
    # a layer: 2 x 4096 x 4096 + 2 x 4096 x 1024 + 3 x 4096 x 12288; embeddings 2 x 151936 x 4096
    assert size.layer_parameters == 33_554_432 + 8_388_608 + 150_994_944
    assert size.parameters == 36 * 192_937_984 + 1_244_659_712  # 8.19 billion
    assert size.kv_bytes == 2 * 36 * 8 * 128 * 2  # 144 KiB a token
    # rank 32: per layer 2 x 8192 + 2 x 5120 of attention, 3 x 16384 of the MLP
    assert size.adapter_parameters(32) == 36 * 32 * (26_624 + 49_152)
    assert dimensions_of({"text_config": QWEN3_8B}) == size
    with pytest.raises(RunError, match=r"no 'hidden_size': state \[plan.dimensions\]"):
        dimensions_of({"num_attention_heads": 2})


def test_the_32b_recipe_s_dpo_does_not_fit_its_fsdp_file() -> None:
    recipe = read_recipe(RECIPES / "qwen2.5-32b.toml")
    assert recipe.plan is not None
    rows = {row.stage: row for row in plan_of(recipe)}
    shard = (64 * 487_587_840 + 1_557_135_360) / 8 / 2**30
    assert rows["sft"].weights == pytest.approx(4 * shard)  # 15.3 GiB
    assert rows["sft"].optimizer == pytest.approx(12 * shard)  # 45.8
    # 16,384 tokens: 64 layers' inputs in bfloat16, and one layer while it is recomputed
    kept, layer = 64 * 16_384 * 5120 * 2, 16_384 * (10 * 5120 + 3 * 27_648) * 2
    assert rows["sft"].activations == pytest.approx((kept + layer) / 2**30)  # 14.1
    assert rows["dpo"].weights == pytest.approx(8 * shard)  # and the reference model
    assert rows["dpo"].activations == pytest.approx(2 * rows["sft"].activations)
    with pytest.raises(RunError, match=r"8 GPUs of 76 GiB: dpo needs 104 GiB\. More GPUs"):
        check_fits(list(rows.values()), recipe.plan)
    wider = read_recipe(RECIPES / "qwen2.5-32b.toml", ["plan.gpus=16"])
    assert wider.plan is not None
    check_fits(plan_of(wider), wider.plan)


def test_samples_tokens_and_hours_of_the_8b_recipe() -> None:
    recipe = read_recipe(
        RECIPES / "qwen3-8b.toml",
        ["plan.tokens={low=1000,medium=2000,high=3000}", "plan.train_speed=5000",
         "plan.generate_speed=10000", "plan.prompt_tokens=100", "plan.seed_kept=0.25"],
    )  # fmt: skip
    rows = {row.stage: row for row in plan_of(recipe)}
    assert list(rows) == ["tag", "generate", "sft", "pairs", "dpo", "evaluate", "export"]
    assert rows["tag"].samples == 4_000 * 0.25 * 3
    assert rows["tag"].tokens == 3_000 * 3 * (100 + 2_000)
    assert rows["tag"].hours == pytest.approx(18_900_000 / 5_000 / 3600)
    assert rows["generate"].samples == 54_000 * 3
    assert rows["generate"].hours == pytest.approx(162_000 * 2_000 / 10_000 / 3600)
    # the base in bfloat16 on the GPU, its adapters in float32 with AdamW's state
    assert rows["sft"].weights == pytest.approx((8_190_427_136 * 2 + 87_293_952 * 4) / 2**30)
    assert rows["sft"].optimizer == pytest.approx(87_293_952 * 12 / 2**30)
    assert rows["dpo"].weights == rows["sft"].weights  # without adapters it is its own reference
    # 512 requests of 100 + 2,000 tokens, 147,456 bytes each, want 148 GiB: they take what is left
    assert rows["generate"].kv == pytest.approx(76 - 8_190_427_136 * 2 / 2**30)
    few = read_recipe(RECIPES / "qwen3-8b.toml", ["engine.concurrency=8", "plan.prompt_tokens=100"])
    mean = (1_500 + 2_500 + 4_000) / 3
    wanted = 8 * (100 + mean) * 147_456 / 2**30
    assert plan_of(few)[1].kv == pytest.approx(wanted)


def test_a_stage_grpo_is_planned() -> None:
    grpo = "grpo={steps=10,batch=64,samples=8,redraws=1,efforts={auto={limit=1900}}}"
    recipe = read_recipe(RECIPES / "qwen3-8b.toml", [grpo, "plan.prompt_tokens=100"])
    assert recipe.plan is not None
    row = next(row for row in plan_of(recipe) if row.stage == "grpo")
    assert row.samples == 640
    assert row.kv == pytest.approx(64 * 2_000 * 147_456 / 2**30)
    assert row.weights == pytest.approx(8_190_427_136 * 4 / 2**30)  # no reference without beta
    alone = grpo.replace("{steps", "{start='base',steps")
    recipe = read_recipe(RECIPES / "qwen3-8b.toml", [alone, "export.stage=grpo"])
    assert [row.stage for row in plan_of(recipe)] == ["grpo", "evaluate", "export"]


def test_every_kind_of_problems_is_counted(tmp_path: Path) -> None:
    rows = "".join(f'{{"prompt": "{number}"}}\n' for number in range(500))
    (tmp_path / "train.jsonl.gz").write_bytes(gzip.compress(f"{rows}\n".encode()))
    (tmp_path / "seed.jsonl").write_text(rows)
    recipe = read_recipe(
        RECIPES / "qwen3-8b.toml",
        [f"data.train=[{{path='{tmp_path}/train.jsonl.gz'}}]", "seed.source=file",
         f"seed.path={tmp_path}/seed.jsonl", "data.seed=[]",
         "data.evaluate=[{reasoning_gym={task='leg_counting',n=70}}]"],
    )  # fmt: skip
    rows = {row.stage: row for row in plan_of(recipe)}
    assert rows["tag"].samples == 500  # solutions
    assert rows["generate"].samples == 500 * 3
    assert rows["evaluate"].samples == 70 * 5 * 4  # three efforts, sft and dpo
    assert rows["export"].samples == 6_000 * 4  # and none
    with pytest.raises(RunError, match=r"none\.jsonl cannot be read"):
        plan_of(
            read_recipe(RECIPES / "qwen3-8b.toml", ["seed.source=file", "seed.path=none.jsonl"])
        )


def test_a_training_ends_after_its_steps_and_a_gate_measures_its_problems() -> None:
    settings = ["sft.max_steps=3", "gate={accuracy=0.2,problems=300,after='sft',baseline=true}"]
    recipe = read_recipe(RECIPES / "qwen3-8b.toml", settings)
    rows = plan_of(recipe)
    assert [row.stage for row in rows[:4]] == ["tag", "generate", "sft", "gate"]
    assert rows[2].tokens == 3 * 96 * (150 + 1_500)
    assert rows[3].samples == 600


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("engine.flags=['-tp=8']", "engine takes 8 GPUs, and plan.gpus is 1"),
        ("engine.flags=['--tensor_parallel_size','4','-dp','2']", "engine takes 8 GPUs"),
        ("engine.replicas=2", "engine takes 2 GPUs"),
        ("seed.teacher.flags=['--tensor-parallel-size=8']", "seed.teacher takes 8 GPUs"),
        ("launch.processes=2", "launch.processes takes 2 GPUs"),
    ],
)
def test_more_gpus_than_there_are_are_refused(override: str, message: str) -> None:
    with pytest.raises(RunError, match=message):
        plan_of(read_recipe(RECIPES / "qwen3-8b.toml", [override]))


@pytest.mark.parametrize("name", ["qwen3-8b", "qwen3-8b-full", "qwen2.5-32b"])
def test_the_command_prints_the_plan_and_fails_where_it_does_not_fit(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["train", "plan", str(RECIPES / f"{name}.toml")])
    output, error = capsys.readouterr()
    assert output.startswith("stage")
    assert "hours on" in output
    assert status == (1 if name == "qwen2.5-32b" else 0)
    assert ("does not fit 8 GPUs" in error) == (name == "qwen2.5-32b")
    assert ("104.5 !" in output) == bool(status)
    page = (ROOT / "docs" / "benchmarks" / "training.md").read_text()
    assert (output.strip() in page) == (name != "qwen3-8b-full")


def test_what_a_plan_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no table \[plan\]"):
        plan_of(read_recipe(RECIPES / "smoke.toml"))
    speeds = "plan={tokens={low=9},train_speed=1,generate_speed=1}"
    (tmp_path / "config.json").write_text(json.dumps(QWEN3_8B))
    here = read_recipe(RECIPES / "smoke.toml", [speeds, f"model.base={tmp_path}"])
    assert plan_of(here)[0].stage == "tag"
    with pytest.raises(RunError, match="dimensions of a/b are unknown"):
        plan_of(read_recipe(RECIPES / "smoke.toml", [speeds, "model.base=a/b"]))
    unsized = "data.evaluate=[{public='gsm8k',split='test'}]"
    with pytest.raises(RunError, match=r"problems of openai/gsm8k is unknown.*plan.sizes"):
        plan_of(read_recipe(RECIPES / "smoke.toml", [speeds, f"model.base={tmp_path}", unsized]))


def test_a_plan_counts_with_positive_speeds() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        Plan(tokens={"low": 9}, train_speed=0, generate_speed=1)
