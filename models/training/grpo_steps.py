"""What the steps of `grpo` rewarded: a line of figures per step, and progress on the terminal."""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.training.rewards import Rollout
from models.training.rollouts import Group

_PRINTED_STEPS = 10
_FLAT_STEPS = 10
"""So many steps in a row that teach nothing are worth a warning."""


class StepLog:
    """Appends to `steps.jsonl`; the lines of steps that are repeated after a resume are dropped.

    It warns of steps in a row in which no group had a difference in reward.
    """

    def __init__(self, file: Path, steps: int) -> None:
        self._file = file
        self._steps = steps
        self._first: tuple[int, float] | None = None
        self._flat_steps = 0

    def add(self, step: int, groups: Sequence[Group], replaced: int, seconds: float) -> None:
        """A step's groups; `replaced` flat groups were drawn anew, in `seconds` for all of it."""
        if self._first is None:
            kept = [row for row in read_steps(self._file) if row["step"] < step]
            self._file.write_text("".join(f"{json.dumps(row)}\n" for row in kept))
            self._first = (step, time.monotonic() - seconds)
        row = {"step": step, **figures(groups, replaced), "seconds": round(seconds, 2)}
        with self._file.open("a") as stream:
            stream.write(f"{json.dumps(row)}\n")
        if step % _PRINTED_STEPS == 0:
            print(self._line(row), flush=True)
        self._flat_steps = self._flat_steps + 1 if row["flat"] == row["groups"] else 0
        if self._flat_steps == min(_FLAT_STEPS, self._steps):
            print(
                f"grpo: warning: {self._flat_steps} steps taught nothing, as all rollouts of each "
                f"problem earned the same: {_why_flat(row)}",
                file=sys.stderr,
                flush=True,
            )

    def _line(self, row: dict[str, Any]) -> str:
        assert self._first is not None
        first, start = self._first
        done, left = row["step"] - first, self._steps - row["step"]
        minutes = (time.monotonic() - start) / max(done, 1) * left / 60
        time_left = f", about {minutes:.0f} min left" if done else ""
        return (
            f"grpo: step {row['step']} of {self._steps}: reward {row['reward']:.3f}, "
            f"{row['right']:.1%} right, {row['tokens']:.0f} tokens, {row['truncated']:.1%} cut, "
            f"{row['flat']} of {row['groups']} groups without a difference{time_left}"
        )


def _why_flat(row: Mapping[str, Any]) -> str:
    if row["truncated"] == 1:
        return "all are cut off, so raise the limits in grpo.efforts"
    if row["right"] == 0:
        return "none is right, so give easier problems, or see whether verify.by reads the answers"
    if row["right"] == 1:
        return "all are right, so give harder problems, or a length_weight"
    return "raise grpo.samples, grpo.redraws or grpo.temperature"


def figures(groups: Sequence[Group], replaced: int) -> dict[str, Any]:
    """Means over the rollouts of a step, in total and by effort."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    rewards = [reward for group in groups for reward in group.rewards]
    by_effort: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in rollouts:
        by_effort[rollout.effort].append(rollout)
    return {
        "reward": round(sum(rewards) / len(rewards), 4),
        **_means(rollouts),
        "groups": len(groups),
        "flat": sum(group.is_flat for group in groups),
        "replaced": replaced,
        "efforts": {effort: _means(rows) for effort, rows in sorted(by_effort.items())},
    }


def _means(rollouts: Sequence[Rollout]) -> dict[str, float]:
    count = len(rollouts)
    return {
        "right": round(sum(rollout.correct for rollout in rollouts) / count, 4),
        "tokens": round(sum(rollout.tokens for rollout in rollouts) / count, 2),
        "truncated": round(sum(rollout.truncated for rollout in rollouts) / count, 4),
    }


def read_steps(file: Path) -> list[dict[str, Any]]:
    """The lines of a step log; a last line that was cut by a crash is left out."""
    rows: list[dict[str, Any]] = []
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def summary(file: Path) -> dict[str, Any]:
    """For the manifest: means of the first and of the last tenth of the steps."""
    rows = read_steps(file)
    tenth = max(1, len(rows) // 10)
    result: dict[str, Any] = {"replaced_groups": sum(row["replaced"] for row in rows)}
    for name, part in (("first", rows[:tenth]), ("last", rows[-tenth:])):
        for key in ("reward", "right", "tokens", "truncated"):
            result[f"{key}_{name}"] = round(sum(row[key] for row in part) / len(part), 4)
    return result
