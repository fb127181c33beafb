"""What a recipe names is looked for before the first stage."""

from pathlib import Path

import pytest
from paths import ROOT

from models.outcomes.verify import JudgeError
from models.training.preflight import preflight
from models.training.recipe_file import read_recipe
from models.training.run import RunError

SMOKE = ROOT / "models" / "recipes" / "smoke.toml"
FSDP = SMOKE.with_name("fsdp.yaml")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.seed=[]"], "data.seed names no problems"),
        (["data.train=[]"], "data.train names no problems"),
        (["data.evaluate=[]"], "data.evaluate names no problems"),
        (
            ["data.router=[{stories={n=1}},{path='no.jsonl'}]"],
            r"data\.router\.1\.path: .*no\.jsonl",
        ),
        (["seed.source=file", "seed.path=no.jsonl"], r"seed\.path: there is no file .*no\.jsonl"),
        (["launch.accelerate=no.yaml"], r"launch\.accelerate: there is no file .*no\.yaml"),
        (
            [f"launch.accelerate={FSDP}", "sft.lora={rank=4}"],
            r"sft\.lora: an adapter cannot be merged into a model that FSDP shards",
        ),
        (["grpo.reward=nowhere:reward"], r"grpo\.reward: .*nowhere:reward cannot be loaded"),
    ],
)
def test_what_is_missing_is_named(
    settings: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    preflight(read_recipe(SMOKE))
    with pytest.raises(RunError, match=message):
        preflight(read_recipe(SMOKE, settings))


def test_a_seed_from_a_file_and_a_start_from_the_base_need_no_problems_of_a_seed(
    tmp_path: Path,
) -> None:
    (tmp_path / "seed.jsonl").touch()
    file = ["seed.source=file", f"seed.path={tmp_path}/seed.jsonl"]
    for settings in (file, ["grpo.start=base", "export.stage=grpo"]):
        preflight(read_recipe(SMOKE, ["data.seed=[]", *settings]))


def test_a_way_of_judging_that_is_missing_is_named() -> None:
    with pytest.raises(JudgeError, match="answers cannot be judged by guess"):
        preflight(read_recipe(SMOKE, ["verify.by=guess"]))
