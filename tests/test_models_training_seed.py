"""A seed from a teacher: what it did not answer is nothing to learn, right or not."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from engines import DEMO
from paths import ROOT
from teacher import teaching

from models.domain.problems import unique_stories
from models.training.chat import Chat
from models.training.examples import read_examples
from models.training.recipe_file import read_recipe
from models.training.run import StageContext
from models.training.seed import seed

transformers: Any = pytest.importorskip("transformers", reason="needs the extra [train]")


def test_thoughts_without_an_answer_are_left_out(tmp_path: Path) -> None:
    stories = {story.prompt: story for story in islice(unique_stories(1, "train", 1, 4), 4)}
    chat = Chat(transformers.AutoTokenizer.from_pretrained(DEMO))
    with teaching(stories) as teacher:
        teacher.cut = {next(iter(stories))}
        settings = [
            "data.seed=[{stories={n=4,seed=1,steps=[1,4]}}]",
            "seed={source='teacher',only_right=false}",
            f"seed.teacher={{url='{teacher.url}',model='t'}}",
        ]
        recipe = read_recipe(ROOT / "models" / "recipes" / "smoke.toml", settings)
        counts = seed(StageContext(recipe, tmp_path, {}), chat)
    assert (counts["malformed"], counts["without_reasoning"]) == (3, 0)
    examples = read_examples(tmp_path / "examples.jsonl")
    assert {example.prompt for example in examples} == {*stories} - teacher.cut
