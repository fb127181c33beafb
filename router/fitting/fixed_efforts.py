"""Which fixed effort is right: tests of paired differences between efforts on distinct prompts.

    certify(results, max_loss=0.01, delta=0.1)

A fixed effort is the same for every request, without a router. The tests take a cluster of prompts
(`router.fitting.prompts`) as what varies independently.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np

from router.arrays import Array, Index
from router.fitting.outcomes import Outcome, OutcomeError
from router.fitting.prompts import clusters, numbered, problem_key, template_key
from router.fitting.table import MIN_PROBLEMS, Table, complete_rows


@dataclass(frozen=True)
class FixedEfforts:
    """P distinct prompts at E efforts, cheapest first.

    `accuracy`, `tokens` (P, E): means of a prompt's generations, without gaps. `cluster` (P,):
    prompts that vary together. `repeats` (P,): problem_ids of a prompt. `incomplete`: how many
    distinct prompts have no outcomes at some effort and are left out.
    """

    efforts: tuple[str, ...]
    accuracy: Array
    tokens: Array
    cluster: Index
    repeats: Index
    incomplete: int

    @property
    def best(self) -> int:
        """The index of the most accurate effort; of equal ones, the cheapest."""
        return int(self.accuracy.mean(axis=0).argmax())

    @property
    def clusters(self) -> int:
        """How many clusters the prompts are of."""
        return int(self.cluster.max()) + 1


def fixed_efforts(outcomes: Sequence[Outcome], efforts: Sequence[str]) -> FixedEfforts:
    """Arrange outcomes by distinct prompt and by effort, sorted by mean tokens.

    Raises OutcomeError: no prompt has outcomes at every effort.
    """
    messages: dict[str, object] = {}
    for outcome in outcomes:
        messages.setdefault(outcome.problem_id, outcome.messages)
    keys = {problem: problem_key(problem, prompt) for problem, prompt in messages.items()}
    prompts = {keys[problem]: prompt for problem, prompt in messages.items()}
    column = {effort: index for index, effort in enumerate(efforts)}
    rows = [outcome for outcome in outcomes if outcome.effort in column]
    row_number = dict(zip(prompts, range(len(prompts)), strict=True))
    cells = np.array(
        [row_number[keys[o.problem_id]] * len(efforts) + column[o.effort] for o in rows],
        dtype=np.intp,
    )

    def sums(values: Sequence[float]) -> Array:
        flat = np.bincount(cells, weights=values, minlength=len(prompts) * len(efforts))
        return flat.astype(np.float64).reshape(len(prompts), len(efforts))

    counts = sums([1.0] * len(rows))
    complete = np.all(counts > 0, axis=1)
    if not complete.any():
        raise OutcomeError(f"no prompt has outcomes at every effort ({', '.join(efforts)})")
    accuracy = sums([o.correct for o in rows])[complete] / counts[complete]
    tokens = sums([o.tokens for o in rows])[complete] / counts[complete]
    order = np.argsort(tokens.mean(axis=0), kind="stable")
    repeats = Counter(keys.values())
    used = [key for key, is_used in zip(prompts, complete.tolist(), strict=True) if is_used]
    return FixedEfforts(
        efforts=tuple(efforts[int(index)] for index in order),
        accuracy=accuracy[:, order],
        tokens=tokens[:, order],
        cluster=clusters(
            [key if prompts[key] is None else template_key(prompts[key]) for key in used]
        ),
        repeats=np.array([repeats[key] for key in used], dtype=np.intp),
        incomplete=len(prompts) - len(used),
    )


def fixed_of(table: Table) -> FixedEfforts:
    """The complete problems of a `table`, whose prompts are distinct.

    Raises OutcomeError: there is none.
    """
    rows = complete_rows(table)
    order = np.argsort(table.tokens[rows].mean(axis=0), kind="stable")
    return FixedEfforts(
        efforts=tuple(table.efforts[int(index)] for index in order),
        accuracy=table.accuracy[rows][:, order],
        tokens=table.tokens[rows][:, order],
        cluster=numbered(table.cluster[rows].tolist()),
        repeats=np.ones(int(rows.sum()), dtype=np.intp),
        incomplete=int((~rows).sum()),
    )


def certify(results: FixedEfforts, max_loss: float, delta: float) -> tuple[int, ...]:
    """The efforts that lose at most `max_loss` accuracy against every effort, cheapest first.

    With confidence 1 - `delta` this holds for all of them together, so that any may be chosen. An
    effort is tested against each of the others, which needs no correction (intersection-union;
    Berger, Technometrics 24(4), 1982); over the efforts the level is Holm's (Scandinavian Journal
    of Statistics 6(2), 1979), where the most accurate effort makes one hypothesis false. None from
    fewer prompts than a fit takes.
    """
    size = len(results.efforts)
    if results.clusters < MIN_PROBLEMS:
        return ()
    p_values = [
        max(
            _loss_p_value(results, effort, rival, max_loss)
            for rival in range(size)
            if rival != effort
        )
        for effort in range(size)
    ]
    return tuple(sorted(_rejected(p_values, delta, size - 1)))


def dominated(results: FixedEfforts, delta: float) -> dict[int, tuple[int, ...]]:
    """The efforts that are no more accurate and not cheaper than others, with those others.

    With confidence 1 - `delta` for all of them together (Holm over all pairs).
    """
    if results.clusters < MIN_PROBLEMS:
        return {}
    efforts = range(len(results.efforts))
    pairs = [(effort, rival) for effort in efforts for rival in efforts if effort != rival]
    p_values = [
        max(_loss_p_value(results, rival, effort, 0.0), _costlier_p_value(results, effort, rival))
        for effort, rival in pairs
    ]
    better: dict[int, tuple[int, ...]] = {}
    for index in sorted(_rejected(p_values, delta, len(pairs))):
        effort, rival = pairs[index]
        better[effort] = (*better.get(effort, ()), rival)
    return better


def _rejected(p_values: Sequence[float], delta: float, true_at_most: int) -> list[int]:
    """The hypotheses that Holm's step-down test rejects, of which at most so many are true."""
    rejected: list[int] = []
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for step, index in enumerate(order):
        if p_values[index] > delta / max(min(true_at_most, len(p_values) - step), 1):
            break
        rejected.append(index)
    return rejected


def _loss_p_value(results: FixedEfforts, effort: int, rival: int, max_loss: float) -> float:
    """P-value of the hypothesis that `effort` loses more than `max_loss` against `rival`.

    With a pseudo-observation, a prompt that `effort` loses: differences that are all zero certify
    nothing (as `router.fitting.calibration.loss_p_value`).
    """
    difference = results.accuracy[:, effort] - results.accuracy[:, rival]
    sums = np.append(np.bincount(results.cluster, difference), -1.0)
    sizes = np.append(np.bincount(results.cluster), 1.0).astype(np.float64)
    return _p_value(sums, sizes, max_loss)


def _costlier_p_value(results: FixedEfforts, effort: int, rival: int) -> float:
    """P-value of the hypothesis that `effort` takes fewer tokens than `rival`."""
    difference = results.tokens[:, effort] - results.tokens[:, rival]
    sizes = np.bincount(results.cluster).astype(np.float64)
    sums = np.bincount(results.cluster, difference).astype(np.float64)
    return _p_value(sums, sizes, 0.0)


def _p_value(sums: Array, sizes: Array, margin: float) -> float:
    """P-value of the hypothesis that the mean is below -`margin`, from sums of G clusters (G,).

    Normal approximation with the variance between clusters.
    """
    mean = float(sums.sum() / sizes.sum())
    residuals = sums - mean * sizes
    variance = len(sums) / (len(sums) - 1) * float((residuals**2).sum()) / float(sizes.sum()) ** 2
    return 0.5 * erfc((mean + margin) / sqrt(max(2.0 * variance, 1e-18)))
