"""The rollouts of a step of `grpo`: problems drawn, answered, judged, rewarded, and drawn anew.

It knows neither the trainer nor the model: a `Sampler` continues token ids. What it draws depends
on the seed, the step and the process alone, so a resumed run draws what it would have drawn.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from models.outcomes.check import read_check
from models.outcomes.verify import Judge
from models.training.completions import Completion, Reader
from models.training.recipe_grpo import Grpo
from models.training.rewards import Reward, Rollout, rewards_for

_EQUAL = 1e-6


@dataclass(frozen=True)
class Task:
    """A problem at an effort, with its rendered prompt as text and as token ids.

    `check` is the problem's, as `models.outcomes.check.check_row` writes it.
    """

    problem_id: str
    effort: str
    prompt: str
    answer: str
    ids: list[int]
    check: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Group:
    """All rollouts of a task; `completions`, `rollouts` and `rewards` are as long as each other."""

    task: Task
    completions: list[Completion]
    rollouts: list[Rollout]
    rewards: list[float]

    @property
    def counted(self) -> list[float | None]:
        """The rewards; None for a borrowed rollout that does not earn more than the mean.

        Such a rollout says nothing about the model's own, and would make every group differ.
        """
        mean = sum(self.rewards) / len(self.rewards)
        return [
            None if completion.borrowed is not None and reward <= mean else reward
            for completion, reward in zip(self.completions, self.rewards, strict=True)
        ]

    @property
    def is_flat(self) -> bool:
        """Whether all rewards that count are equal: such a group changes nothing."""
        rewards = [reward for reward in self.counted if reward is not None]
        return max(rewards) - min(rewards) < _EQUAL

    def trained_tokens(self) -> list[list[int]]:
        """1 for each token that carries loss.

        Tokens that the model did not choose are improbable: a forced one, or all of a borrowed
        rollout. It learns from them where they earn more than the mean. To make them less probable
        still would only push logits away. What stands before a forced token led to a wrong answer,
        so that a reward for what came after does not count for it.
        """
        mean = sum(self.rewards) / len(self.rewards)
        masks: list[list[int]] = []
        for completion, reward, counted in zip(
            self.completions, self.rewards, self.counted, strict=True
        ):
            mask = [int(counted is not None)] * len(completion.ids)
            forced = completion.forced
            if forced is not None and reward > mean:
                mask[:forced] = [0] * forced
            elif forced is not None:
                mask[forced] = 0
            masks.append(mask)
        return masks


class Sampler(Protocol):
    """Continues prompts by the present weights."""

    def sample(
        self, prompts: Sequence[list[int]], limits: Sequence[int], forbidden: int | None = None
    ) -> list[Completion]:
        """A completion of each prompt, of at most its limit, up to and with an end token.

        The first token is not `forbidden`.
        """
        ...


class Draws:
    """Draws tasks: an effort by the recipe's shares, then one of its problems."""

    def __init__(self, tasks: Sequence[Task], settings: Grpo, seed: int, process: int = 0) -> None:
        self._tasks: dict[str, list[Task]] = defaultdict(list)
        for task in tasks:
            self._tasks[task.effort].append(task)
        goals = settings.goals
        self._efforts = [effort for effort in goals if effort in self._tasks]
        self._shares = [goals[effort].share for effort in self._efforts]
        self._by_problem = {(task.problem_id, task.effort): task for task in tasks}
        self._origin = f"{seed}:{process}"

    def at(self, task: Task, effort: str) -> Task:
        """The same problem at another effort."""
        return self._by_problem[task.problem_id, effort]

    def draw(self, step: int, attempt: int, count: int) -> list[Task]:
        rng = random.Random(f"rollouts:{self._origin}:{step}:{attempt}")
        efforts = rng.choices(self._efforts, self._shares, k=count)
        return [rng.choice(self._tasks[effort]) for effort in efforts]


class Rollouts:
    """Makes the groups of a step.

    `unfinished` tells all processes whether any of them still needs groups: they sample together.
    """

    def __init__(
        self,
        settings: Grpo,
        draws: Draws,
        sampler: Sampler,
        reader: Reader,
        judge: Judge,
        reward: Reward,
        unfinished: Callable[[bool], bool] = lambda here: here,
    ) -> None:
        self._settings = settings
        self._goals = settings.goals
        self._draws = draws
        self._sampler = sampler
        self._reader = reader
        self._judge = judge
        self._reward = reward
        self._unfinished = unfinished

    def groups(self, step: int, count: int) -> tuple[list[Group], int]:
        """`count` groups for a step, and how many flat ones were replaced.

        Flat groups are drawn anew, at most `redraws` times; where too many are flat even then, the
        last of them stay.
        """
        mixed: list[Group] = []
        flat: list[Group] = []
        for attempt in range(1 + self._settings.redraws):
            missing = count - len(mixed)
            if not self._unfinished(missing > 0):
                break
            for group in self._sampled(self._draws.draw(step, attempt, max(missing, 1))):
                (flat if group.is_flat else mixed).append(group)
        missing = max(0, count - len(mixed))
        return mixed[:count] + flat[len(flat) - missing :], len(flat) - missing

    def _sampled(self, tasks: Sequence[Task]) -> list[Group]:
        samples = self._settings.samples
        each = [task for task in tasks for _ in range(samples)]
        limits = [self._goals[task.effort].limit for task in each]
        lenders = [self._lender(task, index % samples) for index, task in enumerate(each)]
        prompts = [
            (task if lender is None else self._draws.at(task, lender)).ids
            for task, lender in zip(each, lenders, strict=True)
        ]
        completions = self._sampler.sample(prompts, limits)
        for completion, limit, lender in zip(completions, limits, lenders, strict=True):
            completion.borrowed = lender
            del completion.ids[limit:]
            if completion.logprobs is not None:
                del completion.logprobs[limit:]
        rollouts = asyncio.run(self._judged(each, completions))
        if self._settings.explore:
            self._think_on(each, completions, rollouts)
        groups: list[Group] = []
        for index, task in enumerate(tasks):
            part = slice(index * samples, (index + 1) * samples)
            rewards = rewards_for(self._settings.reward, self._reward, rollouts[part])
            groups.append(Group(task, completions[part], rollouts[part], rewards))
        return groups

    def _lender(self, task: Task, number: int) -> str | None:
        """The effort whose prompt makes a task's rollout of this number, if not its own."""
        borrow = self._settings.borrow
        return borrow[number] if task.effort == "auto" and number < len(borrow) else None

    def _think_on(
        self, tasks: Sequence[Task], completions: list[Completion], rollouts: list[Rollout]
    ) -> None:
        """Replace the end of the reasoning by another token where the answer was wrong.

        The last `explore` of each problem's rollouts are tried. What the model writes after that
        token is its own again.
        """
        (close,) = self._reader.close
        samples = self._settings.samples
        first = samples - round(samples * self._settings.explore)
        chosen = [
            index
            for index, rollout in enumerate(rollouts)
            if index % samples >= first
            and not rollout.correct
            and completions[index].borrowed is None
            and close in completions[index].ids
        ]
        ends = [completions[index].ids.index(close) for index in chosen]
        starts = [
            tasks[index].ids + completions[index].ids[:end]
            for index, end in zip(chosen, ends, strict=True)
        ]
        limits = [
            self._goals[tasks[index].effort].limit - end
            for index, end in zip(chosen, ends, strict=True)
        ]
        if not chosen:
            return
        continued = self._sampler.sample(starts, limits, close)
        for index, end, rest in zip(chosen, ends, continued, strict=True):
            completions[index] = Completion(completions[index].ids[:end] + rest.ids, None, end)
        judged = asyncio.run(
            self._judged([tasks[i] for i in chosen], [completions[i] for i in chosen])
        )
        for index, rollout in zip(chosen, judged, strict=True):
            rollouts[index] = rollout

    async def _judged(
        self, tasks: Sequence[Task], completions: Sequence[Completion]
    ) -> list[Rollout]:
        async def judged(task: Task, completion: Completion) -> Rollout:
            goal = self._goals[task.effort]
            response = self._reader.response(task.prompt, completion)
            truncated = self._reader.is_truncated(completion)
            check = read_check(task.check, task.check.get("prompt", ""))
            return Rollout(
                task.problem_id,
                task.effort,
                task.prompt,
                task.answer,
                response,
                not truncated
                and await self._judge.is_correct(
                    response, task.answer, check=check, question=task.prompt
                ),
                truncated,
                len(completion.ids),
                self._reader.thinking_tokens(completion),
                goal.limit,
                goal.length_weight,
            )

        pairs = zip(tasks, completions, strict=True)
        return await asyncio.gather(*(judged(task, completion) for task, completion in pairs))
