"""The folder of a run: current stages are skipped, results of other recipes are archived."""

import json
from pathlib import Path

import pytest

from models.training.recipe import Recipe
from models.training.run import Run, RunError, Stage, StageContext

RECIPE = Recipe.model_validate({"name": "r", "model": {"base": "b"}, "seed": {"source": "stories"}})


class Bench:
    """Two stages, `source` and `target`, which needs `source`; `executed` are those that ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.executed: list[str] = []
        self.log: list[str] = []
        self.recipe = RECIPE

    def action(self, context: StageContext) -> dict[str, int]:
        self.executed.append(context.folder.name)
        epochs = f"{context.recipe.sft.epochs} {context.recipe.tag.epochs}"
        (context.folder / "out").write_text(epochs)
        (context.folder / "logs").mkdir(exist_ok=True)
        (context.folder / "logs" / "log").write_text(str(len(self.executed)))
        return {"rows": 3}

    def run(self) -> None:
        run = Run(self.recipe, self.folder, self.log.append)
        with run.locked():
            run.perform(Stage("source", (), ("tag",), self.action))
            run.perform(Stage("target", ("source",), ("sft",), self.action))

    def set(self, **tables: dict[str, float]) -> None:
        settings = RECIPE.model_dump(mode="json")
        for name, table in tables.items():
            settings[name] |= table
        self.recipe = Recipe.model_validate(settings)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "run")


def test_a_current_stage_is_skipped_and_has_a_complete_manifest(bench: Bench) -> None:
    bench.run()
    bench.run()
    assert bench.executed == ["source", "target"]
    manifest = json.loads((bench.folder / "target" / "manifest.json").read_text())
    assert manifest["rows"] == 3
    assert list(manifest["outputs"]) == ["out"]
    assert list(manifest["inputs"]) == ["source"]
    assert manifest["recipe"]["name"] == "r"


def test_a_changed_table_redoes_its_stage_and_later_ones(bench: Bench) -> None:
    bench.run()
    bench.set(sft={"epochs": 7})
    bench.run()
    assert bench.executed == ["source", "target", "target"]
    bench.set(tag={"epochs": 7})
    bench.run()
    assert bench.executed == ["source", "target", "target", "source", "target"]


def test_settings_that_do_not_change_results_redo_nothing(bench: Bench) -> None:
    def perform() -> None:
        run = Run(bench.recipe, bench.folder, bench.log.append)
        with run.locked():
            run.perform(Stage("source", (), ("engine", "verify", "data.ngram"), bench.action))

    perform()
    bench.set(engine={"concurrency": 7}, verify={"processes": 7}, data={"most_broken": 0.5})
    perform()
    assert bench.executed == ["source"]
    bench.set(data={"ngram": 7})
    perform()
    assert bench.executed == ["source", "source"]


def test_a_stage_with_unchanged_inputs_is_not_redone(bench: Bench) -> None:
    bench.set(tag={"warmup_share": 0.1})
    bench.run()
    bench.set(tag={"warmup_share": 0.5})
    bench.run()
    assert bench.executed == ["source", "target", "source"]


def test_results_of_a_variant_return_with_its_recipe(bench: Bench) -> None:
    bench.run()
    manifest = (bench.folder / "target" / "manifest.json").read_bytes()
    bench.set(sft={"epochs": 7})
    bench.run()
    assert len(list(bench.folder.glob("target.*"))) == 1
    bench.set()
    bench.run()
    assert bench.executed == ["source", "target", "target"]
    assert (bench.folder / "target" / "manifest.json").read_bytes() == manifest


def test_results_that_are_aside_are_not_in_the_way(bench: Bench) -> None:
    bench.run()
    for _ in range(3):  # as where a disk was full before the stage had begun
        (bench.folder / "target" / "started.json").unlink()
        bench.run()
    aside = [folder.name for folder in sorted(bench.folder.glob("target.*"))]
    assert aside == ["target.broken", "target.broken-2", "target.broken-3"]


def test_an_interrupted_stage_continues_in_its_folder(bench: Bench) -> None:
    bench.run()
    (bench.folder / "target" / "manifest.json").unlink()
    (bench.folder / "target" / "half").write_text("kept")
    bench.run()
    assert bench.executed == ["source", "target", "target"]
    assert (bench.folder / "target" / "half").read_text() == "kept"


def test_a_stage_names_an_unfinished_input(bench: Bench) -> None:
    run = Run(RECIPE, bench.folder, bench.log.append)
    with run.locked(), pytest.raises(RunError, match="run tops train source first"):
        run.perform(Stage("target", ("source",), (), bench.action))


def test_a_run_admits_one_command_at_a_time(bench: Bench) -> None:
    run = Run(RECIPE, bench.folder, bench.log.append)
    with run.locked(), pytest.raises(RunError, match="another tops train is running in"):
        bench.run()


def test_a_file_named_by_a_recipe_is_hashed_by_content(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "base"
    file.write_text("weights")
    bench.set(tag={})
    settings = RECIPE.model_dump(mode="json")
    settings["model"]["base"] = str(file)
    run = Run(Recipe.model_validate(settings), bench.folder, bench.log.append)
    stage = Stage("source", (), ("model",), bench.action)
    with run.locked():
        run.perform(stage)
    file.write_text("others")
    run = Run(Recipe.model_validate(settings), bench.folder, bench.log.append)
    with run.locked():
        run.perform(stage)
    assert bench.executed == ["source", "source"]
