"""Rewards of GRPO, by hand-computed figures, and a user's own function."""

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from models.training.rewards import (
    RewardError,
    Rollout,
    reward_of,
    rewards_for,
    shorter,
    within_limit,
)

RIGHT = Rollout("p", "auto", "1+1?", "2", "2", True, False, 40, 30, 100, 0.5)
LONG = replace(RIGHT, tokens=80)
WRONG = replace(RIGHT, response="3", correct=False, tokens=10)
CUT = replace(RIGHT, response="", correct=False, truncated=True, tokens=100)


def test_right_answers_are_rewarded_the_more_the_shorter_they_are() -> None:
    # 80 tokens are twice the shortest right answer's 40: half of the weight 0.5 is lost
    assert shorter([RIGHT, LONG, WRONG, CUT]) == [1.0, 0.75, 0.0, 0.0]


def test_a_wrong_answer_does_not_count_as_the_shortest() -> None:
    assert shorter([LONG, WRONG]) == [1.0, 0.0]


def test_without_a_weight_length_costs_nothing() -> None:
    assert shorter([replace(RIGHT, length_weight=0), replace(LONG, length_weight=0)]) == [1.0, 1.0]


def test_truncation_is_the_whole_penalty() -> None:
    assert within_limit([RIGHT, LONG, WRONG, CUT]) == [1.0, 1.0, 0.0, 0.0]
    assert shorter([CUT]) == [0.0]


def test_a_user_s_function_is_found_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_reward.py").write_text(
        "def terse(rollouts):\n    return [-r.tokens for r in rollouts]\nname = 'not a function'\n"
        "def few(rollouts):\n    return [1.0]\ndef broken(rollouts):\n    raise KeyError('x')\n"
    )
    monkeypatch.chdir(tmp_path)
    assert rewards_for("terse", reward_of("my_reward:terse"), [RIGHT, LONG]) == [-40.0, -80.0]
    with pytest.raises(RewardError, match="is not a function"):
        reward_of("my_reward:name")
    with pytest.raises(RewardError, match=r"cannot be loaded: .*missing"):
        reward_of("my_reward:missing")
    for broken in ("1 / 0", "def (", "exec('import nothing_there')"):
        (tmp_path / "broken_reward.py").write_text(broken)
        importlib.invalidate_caches()
        with pytest.raises(RewardError, match=r"broken_reward:f cannot be loaded: .*Error"):
            reward_of("broken_reward:f")
    with pytest.raises(RewardError, match=r"for each of the 2 rollouts: it returned \[1.0\]"):
        rewards_for("few", reward_of("my_reward:few"), [RIGHT, LONG])
    with pytest.raises(RewardError, match="few2 failed: KeyError"):
        rewards_for("few2", reward_of("my_reward:broken"), [RIGHT])


def test_a_reward_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(RewardError, match="finite number"):
        rewards_for("mine", lambda rollouts: [float("nan")] * len(rollouts), [RIGHT])


@pytest.mark.parametrize("name", ["shortest", "os.system", "a b:c", ":f", "m:", "m:f()", "../m:f"])
def test_other_names_are_refused_before_anything_is_imported(name: str) -> None:
    with pytest.raises(RewardError, match=r"use shorter, within_limit or a module:function"):
        reward_of(name)
