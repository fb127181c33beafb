"""Rewards of the stage `grpo`: plain functions of the rollouts of one problem.

A reward function gets all rollouts of a problem at one effort, and returns a number for each. So it
can compare them. A user's own is named `module:function` in the recipe.
"""

import importlib
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Rollout:
    """One judged rollout of a problem at an effort.

    `truncated`: it reached `limit` tokens without an end, and is not `correct`. `tokens` counts the
    completion, `thinking_tokens` those in its reasoning block. `length_weight` is the recipe's for
    this effort.
    """

    problem_id: str
    effort: str
    prompt: str
    answer: str
    response: str
    correct: bool
    truncated: bool
    tokens: int
    thinking_tokens: int
    limit: int
    length_weight: float


Reward = Callable[[Sequence[Rollout]], Sequence[float]]
"""From the rollouts of one problem at one effort to a reward for each."""


class RewardError(Exception):
    """A reward function cannot be used; the message says why and what to do."""


def within_limit(rollouts: Sequence[Rollout]) -> list[float]:
    """1 for a right answer within the limit, else 0: truncation is the whole penalty (DLER)."""
    return [float(rollout.correct) for rollout in rollouts]


def shorter(rollouts: Sequence[Rollout]) -> list[float]:
    """1 for the shortest right answer, less for longer right ones, 0 for the others.

    A right answer of n tokens loses `length_weight` times the share of n by which it exceeds the
    problem's shortest right one. It never falls to the reward of a wrong answer.
    """
    shortest = min((rollout.tokens for rollout in rollouts if rollout.correct), default=0)
    return [
        1 - rollout.length_weight * (1 - shortest / rollout.tokens) if rollout.correct else 0.0
        for rollout in rollouts
    ]


REWARDS: Mapping[str, Reward] = {"shorter": shorter, "within_limit": within_limit}


def check_name(name: str) -> None:
    """Refuse what names no reward, without importing anything.

    Raises:
        RewardError: it is neither one of `REWARDS` nor of the form `module:function`.
    """
    if name not in REWARDS and not _NAME.fullmatch(name):
        raise RewardError(
            f"there is no reward {name!r}: use {', '.join(REWARDS)} or a module:function of yours"
        )


def reward_of(name: str) -> Reward:
    """The reward of this name; the module of a user's own may be in the working folder.

    Raises:
        RewardError: there is none, or the user's module cannot be imported.
    """
    check_name(name)
    if name in REWARDS:
        return REWARDS[name]
    module, _, function = name.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        loaded = getattr(importlib.import_module(module), function)
    except Exception as error:
        raise RewardError(
            f"the reward {name} cannot be loaded: {type(error).__name__} {error}"
        ) from error
    if not callable(loaded):
        raise RewardError(f"the reward {name} is not a function")
    return cast("Reward", loaded)


def rewards_for(name: str, reward: Reward, rollouts: Sequence[Rollout]) -> list[float]:
    """The rewards of one problem's rollouts.

    Raises:
        RewardError: the function failed, or did not return a finite number for each.
    """
    try:
        values = [float(value) for value in reward(rollouts)]
    except Exception as error:
        raise RewardError(f"the reward {name} failed: {type(error).__name__} {error}") from error
    if len(values) != len(rollouts) or not all(map(math.isfinite, values)):
        raise RewardError(
            f"the reward {name} must return a finite number for each of the {len(rollouts)} "
            f"rollouts: it returned {values}"
        )
    return values
