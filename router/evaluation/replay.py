"""Replay a router on logged outcomes: its policy against baselines without a router.

    tops replay --router router.json OUTCOMES

All figures are means over distinct prompts with outcomes at every effort of the router; intervals
are 95 % bootstrap intervals over prompts, paired where two policies are compared. A generation of
the policy that takes more tokens than the router's budget counts as wrong, and ends there. Use
outcomes that the router was not fitted on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from router.arrays import Array, Index, Mask
from router.artifact import Artifact
from router.estimate import in_distribution, predict
from router.evaluation.comparison import PolicyResult
from router.evaluation.difficulty import difficulty
from router.evaluation.oracle import generations, oracle_frontier
from router.evaluation.report import Report
from router.fitting.basis import Basis
from router.fitting.budget_cuts import within_budgets
from router.fitting.calibration import PRICES
from router.fitting.composites import extended
from router.fitting.learner import one_thread
from router.fitting.outcomes import Outcome, OutcomeError, OutcomeSet
from router.fitting.prompts import merged
from router.fitting.table import Table, tabulate
from router.messages import read_messages
from router.parameters import range_excess
from router.policy import OperatingPoint, Policy, choose_rows, choose_rows_at
from router.question import question

_NEIGHBOURS = 25
_ROWS = 128
"""Prompts whose distances to all others are in memory together."""
_FOLDS = 5


@dataclass(frozen=True)
class Decisions:
    """A router's decisions on N problems, as effort indices.

    `p` (N, E): estimated P(correct). `budget` (N, E): what the router sends, inf where it sends
    none. `chosen` (N,): by the policy. `bounded` (N,): whether it sends budgets. `at_prices`
    (P, N): at each of PRICES, with budgets. `trusted` (N,): False where the router abstained.
    """

    p: Array
    budget: Array
    chosen: Index
    bounded: Mask
    at_prices: Index
    trusted: Mask


def replay(artifact: Artifact, dataset: OutcomeSet, policy: Policy) -> dict[str, object]:
    """The object of `tops replay --json`. Raises OutcomeError where no problem is complete."""
    outcomes, _ = merged(dataset.outcomes)
    fitted = [outcome for outcome in outcomes if outcome.effort in artifact.efforts]
    if not artifact.calibrated:
        fitted = _questions(fitted)
    table = tabulate(fitted, artifact.efforts)
    rows = judged_rows(table)
    whole = extended(table, artifact.composites if dataset.thinking else ())
    on_fit = artifact.efforts.index(best_fixed(artifact))
    with one_thread():
        decisions = decide(artifact, whole, rows, policy)
        result = report(whole, rows, decisions, np.full(len(rows), on_fit), table)
    skipped = dataset.skipped + table.size - len(rows)
    return {**result, "problems": len(rows), "skipped": skipped}


def _questions(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes with what an uncalibrated router reads of their prompts."""
    messages = {outcome.problem_id: outcome.messages for outcome in outcomes}
    questions = {problem: question(read_messages(prompt)) for problem, prompt in messages.items()}
    return [replace(outcome, messages=questions[outcome.problem_id]) for outcome in outcomes]


def judged_rows(table: Table) -> Index:
    """The problems with outcomes at every effort. Raises OutcomeError where there is none."""
    rows = np.flatnonzero(table.complete)
    if not len(rows):
        raise OutcomeError(
            f"no problem has outcomes at every effort of the router ({', '.join(table.efforts)})"
        )
    return rows


def decide(artifact: Artifact, table: Table, rows: Index, policy: Policy) -> Decisions:
    """The efforts that a router chooses for the problems `rows` (N,), abstentions included.

    Among the columns of `table`: the efforts, and composites where it has them.
    """
    x, words = table.prompts(rows)
    parameters, size = artifact.parameters, len(table.efforts)
    predictions = predict(parameters, x, words, table.kinds_of(rows))
    p_correct, tokens = predictions.p_correct[:, :size], predictions.tokens[:, :size]
    has_composites = size > len(artifact.efforts)
    prices = artifact.composite_prices if has_composites else None
    prices = prices or artifact.prices
    excess = range_excess(parameters, x).sum(axis=1)
    known_share = np.array(parameters.vocabulary.known_shares(words, table.read_by(rows, words)))
    shortfall = parameters.shortfalls(x, words, known_share)
    trusted = (
        table.readable[rows]
        & in_distribution(parameters, excess, shortfall, table.has_system[rows])
        & (p_correct.max(axis=1) >= prices.hopeless)
    )
    budget = np.where(trusted[:, np.newaxis], predictions.budget[:, :size], np.inf)
    baseline = artifact.efforts.index(artifact.baseline)
    guard = parameters.kinds.guards(table.kinds_of(rows))

    def at(point: OperatingPoint) -> Index:
        chosen = choose_rows_at(p_correct, tokens, point, baseline, guard)
        return np.where(trusted, chosen, baseline)

    if policy.effort is not None:
        bounded = True
        chosen = np.full(len(rows), artifact.efforts.index(policy.effort))
    else:
        point = prices.point_for(policy)
        chosen, bounded = at(point), point.bounded
    at_prices = np.stack([at(OperatingPoint(price)) for price in PRICES])
    return Decisions(p_correct, budget, chosen, np.full(len(rows), bounded), at_prices, trusted)


def best_fixed(artifact: Artifact) -> str:
    """The fixed effort that was the most accurate on the outcomes of the fit.

    Artifacts of older versions do not say; there it is the baseline.
    """
    effort = artifact.metrics.get("most_accurate", artifact.baseline)
    return str(effort) if effort in artifact.efforts else artifact.baseline


def report(
    table: Table,
    rows: Index,
    decisions: Decisions,
    on_fit: Index,
    fixed: Table | None = None,
) -> dict[str, object]:
    """Accuracy and tokens of decisions on the problems `rows` (N,), against the baselines.

    `on_fit` (N,): the fixed effort that was best on the outcomes of the fit, not in hindsight.
    `fixed`: the table without composite efforts, which the baselines do not have.
    """
    plain = fixed or table
    budget = np.full(table.counts.shape, np.inf)
    budget[rows] = decisions.budget
    free = table.accuracy[rows], table.tokens[rows]
    cut = [values[rows] for values in within_budgets(table, budget)]
    problems = np.arange(len(rows))

    def result_of(chosen: Index, bounded: Mask | bool = False) -> PolicyResult:
        accuracy, tokens = (
            np.where(bounded, within[problems, chosen], values[problems, chosen])
            for values, within in zip(free, cut, strict=True)
        )
        return PolicyResult(accuracy, tokens)

    routed = result_of(decisions.chosen, decisions.bounded)
    p, spent = _neighbours(plain, rows)
    figures = Report(
        efforts=plain.efforts,
        routed=routed,
        neighbours=_within(float(routed.tokens.mean()), p, spent, result_of),
        controls={
            "shuffled": shuffled(decisions, len(table.efforts), result_of),
            "fixed_on_fit": result_of(on_fit),
        },
        fixed=[result_of(np.full(len(rows), effort)) for effort in range(len(plain.efforts))],
        frontier=[result_of(chosen, bounded=True) for chosen in decisions.at_prices],
        oracle=oracle_frontier(plain, rows, decisions.p[:, : len(plain.efforts)]),
    )
    return {
        "policy": {**figures.policy(), "efforts": _shares(table.efforts, decisions.chosen)},
        "baselines": figures.baselines(),
        "controls": figures.controls(),
        "oracle": {**figures.oracle(), "cross_fitted": generations(plain, rows) > 1},
        **figures.gap(),
        "area": figures.areas(),
        "frontier": figures.frontier(),
        "abstained": float(1 - decisions.trusted.mean()),
        "difficulty": difficulty(plain, rows, decisions.p[:, : len(plain.efforts)]),
    }


def shuffled(
    decisions: Decisions, size: int, result_of: Callable[[Index, Mask], PolicyResult]
) -> PolicyResult:
    """The same efforts, as often each, dealt to the problems at random: the mean over all deals.

    What the policy gains over it comes from who gets which effort, and not from the mixture.
    """
    shares = np.bincount(decisions.chosen, minlength=size) / len(decisions.chosen)
    dealt = [
        result_of(np.full(len(decisions.chosen), effort), decisions.bounded)
        for effort in range(size)
    ]
    accuracy = np.stack([result.accuracy for result in dealt])
    tokens = np.stack([result.tokens for result in dealt])
    return PolicyResult(shares @ accuracy, shares @ tokens)


def _shares(efforts: Sequence[str], chosen: Index) -> Mapping[str, float]:
    return {effort: float((chosen == index).mean()) for index, effort in enumerate(efforts)}


def _neighbours(table: Table, rows: Index) -> tuple[Array, Array]:
    """P(correct) and tokens, both (N, E): means of the nearest neighbours in the other folds."""
    x, words = table.prompts(rows)
    accuracy, tokens = table.accuracy[rows], table.tokens[rows]
    z = Basis.learn(x, words).predictors(x, words)
    squares = (z**2).sum(axis=1)
    folds = np.random.default_rng(0).permutation(np.arange(len(z)) % _FOLDS)
    p, spent = np.zeros_like(accuracy), np.zeros_like(tokens)
    for fold in range(_FOLDS):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        others, places = z[train].T, min(_NEIGHBOURS, len(train))
        for start in range(0, len(test), _ROWS):
            block = test[start : start + _ROWS]
            distance = squares[train] - 2.0 * (z[block] @ others)
            nearest = train[np.argpartition(distance, places - 1)[:, :places]]
            p[block], spent[block] = accuracy[nearest].mean(axis=1), tokens[nearest].mean(axis=1)
    return p, spent


def _within(
    tokens: float, p: Array, spent: Array, result_of: Callable[[Index], PolicyResult]
) -> PolicyResult:
    """The result of estimates at the lowest price at which they spend at most `tokens`."""
    for price in PRICES:
        result = result_of(choose_rows(p, spent, price))
        if result.tokens.mean() <= tokens:
            return result
    return result_of(spent.argmin(axis=1))
