"""What is trained on and what is held out; a training without samples names the setting."""

from pathlib import Path
from typing import Any

import pytest
from engines import DEMO

from models.training.chat import Chat
from models.training.examples import Example
from models.training.recipe import Recipe
from models.training.recipe_tuning import FineTuning, Preference
from models.training.run import RunError
from models.training.tuning import fine_tune, prefer, split

transformers: Any = pytest.importorskip("transformers", reason="needs the extra [train]")

EXAMPLES = [Example(str(number), "1+1?", "low", "1+1=2", "2", 9) for number in range(4)]


@pytest.mark.parametrize(("share", "held_out"), [(0, 0), (0.01, 1), (0.5, 2)])
def test_a_share_that_is_held_out_is_at_least_one_problem(share: float, held_out: int) -> None:
    trained, rest = split(EXAMPLES, share, 0, lambda example: example.problem_id)
    assert (len(trained), len(rest)) == (4 - held_out, held_out)


def test_a_setting_that_leaves_no_sample_is_named(tmp_path: Path) -> None:
    chat = Chat(transformers.AutoTokenizer.from_pretrained(DEMO))
    recipe = Recipe.model_validate(
        {"name": "r", "model": {"base": str(DEMO)}, "seed": {"source": "stories"}}
    )
    tag = tmp_path / "tag"
    with pytest.raises(RunError, match=r"all 4 samples of tag are longer than max_length = 5"):
        fine_tune(recipe, FineTuning(max_length=5), str(DEMO), chat, EXAMPLES, tag)
    with pytest.raises(RunError, match=r"all 4 samples of dpo are longer than max_length = 5"):
        pairs = [(example, example) for example in EXAMPLES]
        prefer(recipe, Preference(max_length=5), str(DEMO), chat, pairs, tmp_path / "dpo")
    with pytest.raises(RunError, match=r"tag\.held_out leaves no problem to train on"):
        fine_tune(recipe, FineTuning(held_out=0.99), str(DEMO), chat, EXAMPLES, tag)
