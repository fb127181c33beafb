"""Outcomes as arrays, one row per problem and one column per effort: the input of fits and replays.

Owns the checks of a set as a whole: enough problems, two efforts, labels that vary.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from router.arrays import Array, Index, Mask
from router.effort import Effort, is_effort, rank
from router.features import FEATURE_NAMES, read_prompt
from router.fitting.outcomes import Outcome, OutcomeError
from router.fitting.prompts import clusters, template_key
from router.messages import read_messages
from router.vocabulary import Words
from router.word_table import WordTable

MIN_PROBLEMS = 30
RECOMMENDED_PROBLEMS = 200
_MIN_COVERAGE = 0.5
"""An effort with outcomes on a smaller share of the problems is excluded."""


@dataclass(frozen=True)
class Table:
    """N problems at E efforts, cheapest first, from R generations.

    `x` (N, F), `words` (N), `read` (N): the prompts, as `router.features.Prompt`. `has_system`
    (N,): of the conversation. `cluster` (N,): as `router.fitting.prompts.clusters`. `readable`
    (N,): whether a router can estimate it. `kinds` (N,): of traffic, or None. `counts`, `successes`
    (N, E): generations, and correct ones. `tokens` (N, E): mean tokens, nan without generations.
    `row_*` (R,): one entry per generation.
    """

    efforts: tuple[str, ...]
    x: Array
    cluster: Index
    words: WordTable
    read: WordTable
    has_system: Mask
    readable: Mask
    counts: Array
    successes: Array
    tokens: Array
    row_problem: Index
    row_effort: Index
    row_correct: Array
    row_tokens: Array
    kinds: tuple[str | None, ...]

    @property
    def accuracy(self) -> Array:
        """Share of correct generations (N, E), nan without generations."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.successes / self.counts

    @property
    def size(self) -> int:
        """The number of problems N, in the order of their first outcomes."""
        return len(self.counts)

    def prompts(self, rows: Index) -> tuple[Array, WordTable]:
        """Features (M, F) and words (M) of the problems `rows` (M,)."""
        return self.x[rows], self.words.rows(rows)

    def read_by(self, rows: Index, words: WordTable) -> WordTable:
        """Words (M) of all that the model reads in the problems `rows` (M,), which ask `words`."""
        return words if self.read is self.words else self.read.rows(rows)

    def kinds_of(self, rows: Index) -> list[str | None]:
        """The kinds (M,) of the problems `rows` (M,)."""
        return [self.kinds[row] for row in rows]

    @property
    def complete(self) -> Mask:
        """Problems (N,) that have generations with tokens at every effort."""
        return np.all((self.counts > 0) & np.isfinite(self.tokens), axis=1)


class _Prompts:
    """What a table has of its prompts, read in turn: of each, little is kept."""

    def __init__(self, prompts: Collection[object]) -> None:
        self.x = np.zeros((len(prompts), len(FEATURE_NAMES)))
        self.templates: list[str] = []
        self.has_system: list[bool] = []
        self.readable: list[bool] = []
        self._read: dict[int, Words] = {}
        self.words = WordTable.of(self._read_rows(prompts))
        self.read = self.words
        if self._read:
            self.read = WordTable.of(
                self._read.get(row, words) for row, words in enumerate(self.words)
            )

    def _read_rows(self, prompts: Collection[object]) -> Iterator[Words]:
        for row, messages in enumerate(prompts):
            conversation = read_messages(messages)
            prompt = read_prompt(conversation)
            self.x[row] = prompt.x
            self.templates.append(template_key(conversation))
            self.has_system.append(conversation.has_system)
            self.readable.append(conversation.unreadable is None and not prompt.wordless)
            if prompt.read is not prompt.words:
                self._read[row] = prompt.read
            yield prompt.words


def tabulate(outcomes: Sequence[Outcome], efforts: Sequence[str] | None = None) -> Table:
    """Arrange outcomes by problem and by effort; `efforts` None takes all, cheapest first."""
    messages: dict[str, object] = {}
    kinds: dict[str, str] = {}
    for outcome in outcomes:
        messages.setdefault(outcome.problem_id, outcome.messages)
        if outcome.kind is not None:
            kinds.setdefault(outcome.problem_id, outcome.kind)
    ladder = _ladder(outcomes) if efforts is None else tuple(efforts)
    column = {effort: index for index, effort in enumerate(ladder)}
    row = {problem: index for index, problem in enumerate(messages)}
    rows = [outcome for outcome in outcomes if outcome.effort in column]
    problem = np.array([row[outcome.problem_id] for outcome in rows], dtype=np.intp)
    effort = np.array([column[outcome.effort] for outcome in rows], dtype=np.intp)
    correct = np.array([outcome.correct for outcome in rows], dtype=np.float64)
    tokens = np.array([outcome.tokens for outcome in rows], dtype=np.float64)
    cells = problem * len(ladder) + effort
    shape = (len(messages), len(ladder))

    def cell_sums(values: Array) -> Array:
        sums = np.bincount(cells, weights=values, minlength=shape[0] * shape[1])
        return sums.astype(np.float64).reshape(shape)

    counts = cell_sums(np.ones_like(correct))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_tokens = cell_sums(tokens) / counts
    prompts = _Prompts(messages.values())
    return Table(
        efforts=ladder,
        x=prompts.x,
        cluster=clusters(prompts.templates),
        words=prompts.words,
        read=prompts.read,
        has_system=np.array(prompts.has_system, dtype=np.bool_),
        readable=np.array(prompts.readable, dtype=np.bool_),
        counts=counts,
        successes=cell_sums(correct),
        tokens=mean_tokens,
        row_problem=problem,
        row_effort=effort,
        row_correct=correct,
        row_tokens=tokens,
        kinds=tuple(kinds.get(problem) for problem in messages),
    )


def check(outcomes: Sequence[Outcome]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The efforts that a fit can use, cheapest first, and warnings. Raises OutcomeError: none."""
    problems = {outcome.problem_id for outcome in outcomes}
    check_size(len(problems))
    warnings: list[str] = []
    if len(problems) < RECOMMENDED_PROBLEMS:
        warnings.append(
            f"{len(problems)} problems are few; a useful router needs {RECOMMENDED_PROBLEMS}"
        )
    efforts, excluded = covered_efforts(outcomes)
    warnings += excluded
    labels = {outcome.correct for outcome in outcomes if outcome.effort in efforts}
    if len(labels) < 2:
        raise OutcomeError(
            f"every outcome is {'correct' if 1 in labels else 'wrong'}: nothing can be learned; "
            "check the verifier, or add problems of another difficulty"
        )
    return efforts, tuple(warnings)


def check_size(problems: int) -> None:
    """Raises OutcomeError: fewer problems than a fit needs."""
    if problems < MIN_PROBLEMS:
        raise OutcomeError(
            f"too few problems to fit a router: {problems}; give at least {MIN_PROBLEMS}, better "
            f"{RECOMMENDED_PROBLEMS}"
        )


def complete_rows(table: Table) -> Mask:
    """`Table.complete`. Raises OutcomeError: no problem is complete."""
    rows = table.complete
    if not rows.any():
        raise OutcomeError(
            f"no problem has outcomes at every effort ({', '.join(table.efforts)}): generate the "
            "missing ones, or omit an effort"
        )
    return rows


def covered_efforts(outcomes: Sequence[Outcome]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The efforts with outcomes on enough of the problems, cheapest first, and warnings.

    Raises OutcomeError: fewer than two.
    """
    problems = {outcome.problem_id for outcome in outcomes}
    covered: defaultdict[str, set[str]] = defaultdict(set)
    for outcome in outcomes:
        covered[outcome.effort].add(outcome.problem_id)
    efforts: list[str] = []
    warnings: list[str] = []
    for effort in _ladder(outcomes):
        if len(covered[effort]) < _MIN_COVERAGE * len(problems):
            warnings.append(
                f"effort {effort} covers {len(covered[effort])} problems only and is excluded"
            )
        else:
            efforts.append(effort)
    if len(efforts) < 2:
        each = (f"{effort} for {len(covered[effort])}" for effort in sorted(covered))
        raise OutcomeError(
            "outcomes of the same problems at two efforts or more are needed; of "
            f"{len(problems)} problems these have {', '.join(each)}"
        )
    return tuple(efforts), tuple(warnings)


def _ladder(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """The efforts, cheapest first: by rank, or by mean tokens where a name has no rank."""
    spent: defaultdict[str, list[int]] = defaultdict(list)
    for outcome in outcomes:
        spent[outcome.effort].append(outcome.tokens)
    ranked: list[Effort] = [effort for effort in spent if is_effort(effort)]
    if len(ranked) == len(spent):
        return tuple(sorted(ranked, key=rank))
    return tuple(sorted(spent, key=lambda effort: (float(np.mean(spent[effort])), effort)))
