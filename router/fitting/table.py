"""Outcomes as arrays: one row a problem, one column an effort. Where fits and replays start.

Owns the checks that need the whole set: enough problems, two efforts, labels that vary.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.effort import Effort, is_effort, rank
from router.estimate import Array
from router.features import read_prompt
from router.fitting.outcomes import Outcome, OutcomeError
from router.messages import read_messages
from router.vocabulary import Words

Index = NDArray[np.intp]

FEWEST_PROBLEMS = 30
ENOUGH_PROBLEMS = 200
_COVERAGE = 0.5
"""An effort seen on a smaller share of the problems is left out."""


@dataclass(frozen=True)
class Table:
    """N problems at E efforts, cheapest first; R single outcomes.

    `x` (N, F) features and `words` (N) of the prompts, `readable` (N,) where a router judges them
    at all; `counts` and `successes` (N, E) judged and correct generations;
    `tokens` (N, E) mean tokens, nan where unseen; `row_*` (R,) one entry per generation.
    """

    problem_ids: tuple[str, ...]
    efforts: tuple[str, ...]
    x: Array
    words: tuple[Words, ...]
    readable: NDArray[np.bool_]
    counts: Array
    successes: Array
    tokens: Array
    row_problem: Index
    row_effort: Index
    row_correct: Array
    row_tokens: Array

    @property
    def accuracy(self) -> Array:
        """Share of correct generations (N, E), nan where unseen."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.successes / self.counts

    def only(self, rows: Index) -> tuple[Array, list[Words]]:
        """Features and words of some problems."""
        return self.x[rows], [self.words[row] for row in rows]

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Problems (N,) that were seen, and their tokens known, at every effort."""
        return np.all((self.counts > 0) & np.isfinite(self.tokens), axis=1)


def tabulate(outcomes: Sequence[Outcome], efforts: Sequence[str] | None = None) -> Table:
    """Arrange outcomes by problem and effort (those given, else all, cheapest first)."""
    first: dict[str, Outcome] = {}
    for outcome in outcomes:
        first.setdefault(outcome.problem_id, outcome)
    ladder = _ladder(outcomes) if efforts is None else tuple(efforts)
    column = {effort: index for index, effort in enumerate(ladder)}
    row = {problem: index for index, problem in enumerate(first)}
    rows = [outcome for outcome in outcomes if outcome.effort in column]
    problem = np.array([row[outcome.problem_id] for outcome in rows], dtype=np.intp)
    effort = np.array([column[outcome.effort] for outcome in rows], dtype=np.intp)
    correct = np.array([outcome.correct for outcome in rows], dtype=np.float64)
    tokens = np.array([outcome.tokens for outcome in rows], dtype=np.float64)
    cells = problem * len(ladder) + effort
    shape = (len(first), len(ladder))

    def total(values: Array) -> Array:
        sums = np.bincount(cells, weights=values, minlength=shape[0] * shape[1])
        return sums.astype(np.float64).reshape(shape)

    counts = total(np.ones_like(correct))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_tokens = total(tokens) / counts
    conversations = [read_messages(outcome.messages) for outcome in first.values()]
    prompts = [read_prompt(conversation) for conversation in conversations]
    readable = [
        conversation.unreadable is None and not prompt.wordless
        for conversation, prompt in zip(conversations, prompts, strict=True)
    ]
    return Table(
        problem_ids=tuple(first),
        efforts=ladder,
        x=np.stack([prompt.x for prompt in prompts]),
        words=tuple(prompt.words for prompt in prompts),
        readable=np.array(readable, dtype=np.bool_),
        counts=counts,
        successes=total(correct),
        tokens=mean_tokens,
        row_problem=problem,
        row_effort=effort,
        row_correct=correct,
        row_tokens=tokens,
    )


def check(outcomes: Sequence[Outcome]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The efforts that a fit can use, cheapest first, and warnings. Raises OutcomeError."""
    problems = {outcome.problem_id for outcome in outcomes}
    if len(problems) < FEWEST_PROBLEMS:
        raise OutcomeError(
            f"{len(problems)} problems are too few to fit a router; give at least "
            f"{FEWEST_PROBLEMS}, better {ENOUGH_PROBLEMS}"
        )
    warnings: list[str] = []
    if len(problems) < ENOUGH_PROBLEMS:
        warnings.append(f"{len(problems)} problems are few; {ENOUGH_PROBLEMS} make a useful router")
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for outcome in outcomes:
        seen[outcome.effort].add(outcome.problem_id)
    efforts: list[str] = []
    for effort in _ladder(outcomes):
        if len(seen[effort]) < _COVERAGE * len(problems):
            warnings.append(f"effort {effort} covers {len(seen[effort])} problems only: left out")
        else:
            efforts.append(effort)
    if len(efforts) < 2:
        raise OutcomeError(
            f"a router needs outcomes at two efforts or more of the same problems; there is "
            f"{', '.join(sorted(seen))}"
        )
    labels = {outcome.correct for outcome in outcomes if outcome.effort in efforts}
    if len(labels) < 2:
        raise OutcomeError(
            f"every outcome is {'correct' if 1 in labels else 'wrong'}: there is nothing to learn; "
            "check the verifier, or add problems of another difficulty"
        )
    return tuple(efforts), tuple(warnings)


def _ladder(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Levels by rank; any other names by their mean tokens."""
    spent: defaultdict[str, list[int]] = defaultdict(list)
    for outcome in outcomes:
        spent[outcome.effort].append(outcome.tokens)
    known: list[Effort] = [effort for effort in spent if is_effort(effort)]
    if len(known) == len(spent):
        return tuple(sorted(known, key=rank))
    return tuple(sorted(spent, key=lambda effort: (float(np.mean(spent[effort])), effort)))
