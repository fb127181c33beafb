"""An audit of fixed efforts: which effort is right for every request, without a router.

    tops audit OUTCOMES...

For each pair of efforts the difference in accuracy and in tokens, paired by prompt; which efforts
are dominated; which lose at most `max_loss` with confidence, and what the cheapest of them saves.
Intervals are 95 % bootstrap intervals over clusters of distinct prompts. Where rows have a `kind`,
the same for each kind, at its own level.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from router.evaluation.comparison import Draws, Interval, Means, PolicyResult
from router.evaluation.halves import halves, kind_halves
from router.fitting.fixed_efforts import FixedEfforts, certify, dominated, fixed_efforts
from router.fitting.outcomes import Outcome, OutcomeError, OutcomeSet
from router.fitting.prompts import merged, repetition
from router.fitting.table import MIN_PROBLEMS, covered_efforts

_LEDGER = (
    "requests of a ledger are one problem where they share an x-request-id: send each problem at "
    "each effort under its own, and give feedback"
)


def audit(dataset: OutcomeSet, max_loss: float, delta: float) -> dict[str, Any]:
    """The object of `tops audit --json`.

    Raises OutcomeError: fewer than two efforts on the same prompts.
    """
    try:
        efforts, warnings = covered_efforts(merged(dataset.outcomes)[0])
        results = fixed_efforts(dataset.outcomes, efforts)
    except OutcomeError as error:
        if any(outcome.messages is None for outcome in dataset.outcomes):
            raise OutcomeError(f"{error} ({_LEDGER})") from error
        raise
    kinds, small = _kinds(dataset.outcomes, efforts)
    return {
        "model": dataset.model,
        "max_loss": max_loss,
        "confidence": 1 - delta,
        **_Audit(results, max_loss, delta).entry(),
        "kinds": {
            kind: _Audit(of_kind, max_loss, delta).entry() for kind, of_kind in kinds.items()
        },
        "halves": halves(results, max_loss, delta),
        "kind_halves": kind_halves(kinds, max_loss, delta),
        "skipped": dataset.skipped,
        "warnings": [*dataset.warnings, *warnings, *_cautions(results), *small],
    }


def _kinds(
    outcomes: Sequence[Outcome], efforts: Sequence[str]
) -> tuple[dict[str, FixedEfforts], list[str]]:
    """The results of each kind by falling number of prompts, and warnings of the others."""
    by_kind: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.kind is not None:
            by_kind.setdefault(outcome.kind, []).append(outcome)
    results: dict[str, FixedEfforts] = {}
    warnings: list[str] = []
    for kind, rows in by_kind.items():
        try:
            results[kind] = fixed_efforts(rows, efforts)
        except OutcomeError as error:
            warnings.append(f"kind {kind} is left out: {error}")
    ordered = sorted(results, key=lambda kind: (-len(results[kind].accuracy), kind))
    return {kind: results[kind] for kind in ordered}, warnings


def _cautions(results: FixedEfforts) -> list[str]:
    """What the user should know of the prompts."""
    repeated = repetition(results.repeats.tolist())
    cautions = [] if repeated is None else [repeated]
    if results.incomplete:
        cautions.append(
            f"{results.incomplete} prompts have no outcomes at some effort and are left out"
        )
    if results.clusters < MIN_PROBLEMS:
        cautions.append(
            f"{results.clusters} prompts that vary by themselves are too few for a claim with "
            f"confidence; it needs at least {MIN_PROBLEMS}"
        )
    return cautions


class _Audit:
    """The figures of one set of results, from one set of bootstrap draws."""

    def __init__(self, results: FixedEfforts, max_loss: float, delta: float) -> None:
        self._results = results
        self._draws = Draws(
            [
                PolicyResult(accuracy, tokens)
                for accuracy, tokens in zip(results.accuracy.T, results.tokens.T, strict=True)
            ],
            clusters=results.cluster,
        )
        self._certified = certify(results, max_loss, delta)
        self._dominated = dominated(results, delta)

    def entry(self) -> dict[str, object]:
        """Counts, figures per effort and per pair, and the recommended effort."""
        names, best = self._results.efforts, self._results.best
        cheapest = self._certified[0] if self._certified else best
        recommended = min(cheapest, best)
        return {
            "problem_ids": int(self._results.repeats.sum()),
            "prompts": len(self._results.accuracy),
            "clusters": self._results.clusters,
            "incomplete": self._results.incomplete,
            "efforts": {
                name: {
                    **_figures("accuracy", self._accuracy(index)),
                    **_figures("tokens", self._tokens(index)),
                    "certified": index in self._certified,
                    "dominated_by": [names[rival] for rival in self._dominated.get(index, ())],
                }
                for index, name in enumerate(names)
            },
            "differences": [
                self._difference(effort, rival)
                for rival, effort in combinations(range(len(names)), 2)
            ],
            "most_accurate": names[best],
            "recommended": names[recommended],
            "certified": recommended in self._certified,
            "saving": self._saving(recommended, best),
        }

    def _accuracy(self, index: int) -> Interval:
        return self._draws.interval(lambda means: float(means.accuracy[index]))

    def _tokens(self, index: int) -> Interval:
        return self._draws.interval(lambda means: float(means.tokens[index]))

    def _difference(self, effort: int, rival: int) -> dict[str, object]:
        """Accuracy and tokens of `effort` minus those of `rival`, paired by prompt.

        `saved_share`: what `rival` saves of the tokens of `effort`, the costlier one.
        """
        accuracy, tokens = self._minus(effort, rival)
        return {
            "effort": self._results.efforts[effort],
            "minus": self._results.efforts[rival],
            **_figures("accuracy", accuracy),
            **_figures("tokens", tokens),
            **_figures("saved_share", self._saved_share(rival, effort)),
        }

    def _saving(self, effort: int, against: int) -> dict[str, object]:
        """What `effort` saves in tokens and loses in accuracy, against the effort `against`."""
        accuracy, tokens = self._minus(against, effort)
        return {
            "against": self._results.efforts[against],
            **_figures("tokens", tokens),
            **_figures("share", self._saved_share(effort, against)),
            **_figures("accuracy_loss", accuracy),
        }

    def _saved_share(self, effort: int, against: int) -> Interval:
        def share(means: Means) -> float:
            spent = float(means.tokens[against])
            return 1 - float(means.tokens[effort]) / spent if spent else 0.0

        return self._draws.interval(share)

    def _minus(self, effort: int, rival: int) -> tuple[Interval, Interval]:
        return (
            self._draws.interval(lambda m: float(m.accuracy[effort] - m.accuracy[rival])),
            self._draws.interval(lambda m: float(m.tokens[effort] - m.tokens[rival])),
        )


def _figures(name: str, interval: Interval) -> dict[str, object]:
    return {name: interval.value, f"{name}_ci": interval.bounds}
