"""Samples of one problem as one row that holds their common prompt once.

The efforts' prompts are equal up to the tag. A row is that common part and then, of each sample,
the rest: a branch. A token attends to the common part and to its own branch, and has the position
that it has in its own sample. So loss and gradient are those of the separate samples.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from models.training.chat import Encoded
from models.training.examples import Example

_MOST_BRANCHES = 8
"""More samples of a problem than that make a further row, so that rows stay of similar length."""


def share_prompts(
    samples: Sequence[tuple[Example, Encoded]], max_length: int
) -> list[dict[str, Any]]:
    """Rows with `input_ids`, `labels` and `branches`, the lengths of the common part and branches.

    Args:
        samples: those with the same `problem_id` share a row.
        max_length: of a row in tokens; more samples make a further row.
    """
    groups: dict[str, list[Encoded]] = defaultdict(list)
    for example, sample in samples:
        groups[example.problem_id].append(sample)
    rows: list[dict[str, Any]] = []
    for group in groups.values():
        taken: list[Encoded] = []
        for sample in group:
            longer = sum(len(other.ids) for other in (*taken, sample)) > max_length
            if taken and (longer or len(taken) == _MOST_BRANCHES):
                rows.append(_row(taken))
                taken = []
            taken.append(sample)
        rows.append(_row(taken))
    return rows


def _row(samples: Sequence[Encoded]) -> dict[str, Any]:
    common = _common_length(samples)
    first = samples[0]
    ids, labels, branches = first.ids[:common], first.labels[:common], [common]
    for sample in samples:
        ids = ids + sample.ids[common:]
        labels = labels + sample.labels[common:]
        branches.append(len(sample.ids) - common)
    return {"input_ids": ids, "labels": labels, "branches": branches}


def _common_length(samples: Sequence[Encoded]) -> int:
    """Tokens that all prompts begin with.

    A branch begins with a token of the prompt, which has no loss: the token before it in the row
    is of another branch, and could not predict it.
    """
    most = min(sample.prompt for sample in samples) - 1
    first = samples[0].ids
    for index in range(most):
        if any(sample.ids[index] != first[index] for sample in samples):
            return index
    return max(most, 0)


def segments(branches: Sequence[int]) -> list[int]:
    """The branch of each token of a row: 0 for the common part, then 1, 2, ..."""
    return [number for number, length in enumerate(branches) for _ in range(length)]


def positions(branches: Sequence[int]) -> list[int]:
    """The position of each token in its own sample."""
    common, *rest = branches
    return [
        *range(common),
        *(position for length in rest for position in range(common, common + length)),
    ]
