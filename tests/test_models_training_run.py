"""The folder of a run: what is current is skipped, what is not is kept beside it."""

import json
from pathlib import Path

import pytest

from models.training.recipe import Recipe
from models.training.run import Run, RunError, Stage, Work

RECIPE = Recipe.model_validate({"name": "r", "model": {"base": "b"}, "seed": {"source": "stories"}})


class Bench:
    """Two stages, the second of which needs the first; `done` are those that worked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: list[str] = []
        self.said: list[str] = []
        self.recipe = RECIPE

    def work(self, work: Work) -> dict[str, int]:
        self.done.append(work.folder.name)
        (work.folder / "out").write_text(f"{work.recipe.sft.epochs} {work.recipe.tag.epochs}")
        (work.folder / "logs").mkdir(exist_ok=True)
        (work.folder / "logs" / "log").write_text(str(len(self.done)))
        return {"rows": 3}

    def run(self) -> None:
        run = Run(self.recipe, self.folder, self.said.append)
        with run.locked():
            run.perform(Stage("one", (), ("tag",), self.work))
            run.perform(Stage("two", ("one",), ("sft",), self.work))

    def set(self, **tables: dict[str, float]) -> None:
        given = RECIPE.model_dump(mode="json")
        for name, table in tables.items():
            given[name] |= table
        self.recipe = Recipe.model_validate(given)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "run")


def test_a_current_stage_is_skipped_and_its_manifest_tells_all(bench: Bench) -> None:
    bench.run()
    bench.run()
    assert bench.done == ["one", "two"]
    manifest = json.loads((bench.folder / "two" / "manifest.json").read_text())
    assert manifest["rows"] == 3
    assert list(manifest["outputs"]) == ["out"]
    assert list(manifest["inputs"]) == ["one"]
    assert manifest["recipe"]["name"] == "r"


def test_a_changed_table_redoes_its_stage_and_what_follows(bench: Bench) -> None:
    bench.run()
    bench.set(sft={"epochs": 7})
    bench.run()
    assert bench.done == ["one", "two", "two"]
    bench.set(tag={"epochs": 7})
    bench.run()
    assert bench.done == ["one", "two", "two", "one", "two"]


def test_how_a_result_is_come_by_redoes_nothing(bench: Bench) -> None:
    def perform() -> None:
        run = Run(bench.recipe, bench.folder, bench.said.append)
        with run.locked():
            run.perform(Stage("one", (), ("engine", "verify", "data.ngram"), bench.work))

    perform()
    bench.set(engine={"concurrency": 7}, verify={"processes": 7}, data={"most_broken": 0.5})
    perform()
    assert bench.done == ["one"]
    bench.set(data={"ngram": 7})
    perform()
    assert bench.done == ["one", "one"]


def test_a_stage_whose_inputs_came_out_the_same_is_not_redone(bench: Bench) -> None:
    bench.set(tag={"warmup_share": 0.1})
    bench.run()
    bench.set(tag={"warmup_share": 0.5})
    bench.run()
    assert bench.done == ["one", "two", "one"]


def test_a_variant_comes_back_with_its_recipe(bench: Bench) -> None:
    bench.run()
    first = (bench.folder / "two" / "manifest.json").read_bytes()
    bench.set(sft={"epochs": 7})
    bench.run()
    assert len(list(bench.folder.glob("two.*"))) == 1
    bench.set()
    bench.run()
    assert bench.done == ["one", "two", "two"]
    assert (bench.folder / "two" / "manifest.json").read_bytes() == first


def test_a_stage_that_was_cut_short_goes_on_in_its_folder(bench: Bench) -> None:
    bench.run()
    (bench.folder / "two" / "manifest.json").unlink()
    (bench.folder / "two" / "half").write_text("kept")
    bench.run()
    assert bench.done == ["one", "two", "two"]
    assert (bench.folder / "two" / "half").read_text() == "kept"


def test_a_stage_needs_what_it_needs(bench: Bench) -> None:
    run = Run(RECIPE, bench.folder, bench.said.append)
    with run.locked(), pytest.raises(RunError, match="run tops train one first"):
        run.perform(Stage("two", ("one",), (), bench.work))


def test_one_command_at_a_time(bench: Bench) -> None:
    run = Run(RECIPE, bench.folder, bench.said.append)
    with run.locked(), pytest.raises(RunError, match="another tops train works in"):
        bench.run()


def test_a_file_that_a_recipe_names_counts_by_what_is_in_it(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "base"
    file.write_text("weights")
    bench.set(tag={})
    given = RECIPE.model_dump(mode="json")
    given["model"]["base"] = str(file)
    run = Run(Recipe.model_validate(given), bench.folder, bench.said.append)
    stage = Stage("one", (), ("model",), bench.work)
    with run.locked():
        run.perform(stage)
    file.write_text("others")
    run = Run(Recipe.model_validate(given), bench.folder, bench.said.append)
    with run.locked():
        run.perform(stage)
    assert bench.done == ["one", "one"]
