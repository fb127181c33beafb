"""Stage `grpo`: reinforcement learning of right and short answers; writes the tasks, runs TRL."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.outcomes.check import check_row
from models.outcomes.problem_sets import Problem
from models.training.chat import Chat
from models.training.completions import Reader
from models.training.grpo_steps import summary
from models.training.recipe import Recipe
from models.training.recipe_grpo import Grpo
from models.training.rollouts import Task
from models.training.run import RunError
from models.training.tuning import train_on


def reinforce(
    recipe: Recipe,
    settings: Grpo,
    model: str,
    chat: Chat,
    problems: Sequence[Problem],
    folder: Path,
) -> dict[str, Any]:
    """GRPO of `model` on problems; the result is `folder/model`, its course `folder/steps.jsonl`.

    Raises:
        RunError: `explore` does not fit the tokenizer, or the training failed.
    """
    if settings.explore and len(Reader(chat.tokenizer, frozenset()).close) > 1:
        raise RunError("grpo.explore needs a tokenizer with </think> as one token: set it to 0")
    prompts = [
        (problem, effort, chat.prompt(problem.prompt, effort))
        for problem in problems
        for effort in settings.efforts
    ]
    tasks = [
        Task(
            problem.problem_id,
            effort,
            text,
            problem.answer,
            chat.ids(text),
            check_row(problem.check),
        )
        for problem, effort, text in prompts
    ]
    rows = [asdict(task) for task in tasks]
    results = train_on(recipe, settings, model, chat, rows, folder, "grpo")
    return {**Counter(problems=len(problems)), **results, **summary(folder / "steps.jsonl")}
