"""Fit a router to one model's outcomes: learn, cross-fit by problem, certify, measure.

    tops fit OUTCOMES... --out router.json

Every metric and certificate comes from the cross-fitted estimates of `router.fitting.cross_fit`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial

import numpy as np

from router.arrays import Array, Index
from router.artifact import Artifact
from router.estimate import budgets, in_distribution
from router.fitting.budget_cuts import held_out_budgets, spreads, within_budgets
from router.fitting.calibration import CUTS_PER_LOSS, HeldOut, measure, operating_points
from router.fitting.cross_fit import FOLDS, CrossFit, cross_fit, fold_of
from router.fitting.extension import Extension, extension
from router.fitting.fixed_efforts import FixedEfforts, certify, fixed_of
from router.fitting.kinds import several_kinds
from router.fitting.learner import Setting, one_thread
from router.fitting.outcomes import OutcomeError, OutcomeSet
from router.fitting.prompt_sketch import SKETCH, sketch
from router.fitting.prompts import merged, numbered
from router.fitting.regressions import Regressions
from router.fitting.table import Table, check, complete_rows, tabulate
from router.known_words import KnownWords, shortfall
from router.parameters import Parameters
from router.policy import Prices, hopeless_below

_OUTLIER_SHARE = 0.01
"""Share of the fit's own prompts whose features may be called out of distribution."""
_UNKNOWN_SHARE = 0.02
"""Share of them that may have fewer known words than expected (router/RESULTS.md)."""
_MIN_RANGE_LIMIT = 1.0
_MAX_REPEATS = 10
_REPEATED_PROBLEMS = 4_000
_MIN_LOST = 2.0
"""A certificate is from up to _MAX_REPEATS cross-fits, of _REPEATED_PROBLEMS together: on few
problems they differ much, and cost little. Where the loss that is asked for is less than _MIN_LOST
problems, none can be certified."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """Options of a fit.

    `max_loss`: accuracy loss that is certified, at confidence 1 - `delta`. `cut`: share of correct
    answers that a budget may cut off; None is a quarter of `max_loss`. `slack`: factor on that
    budget. `baseline` None: see `fit`.
    """

    baseline: str | None = None
    max_loss: float = 0.01
    delta: float = 0.1
    cut: float | None = None
    slack: float = 1.5
    seed: int = 0

    @property
    def cut_share(self) -> float:
        """The share of correct answers that a budget may cut off."""
        return self.max_loss / CUTS_PER_LOSS if self.cut is None else self.cut


@dataclass(frozen=True)
class Fitted:
    """The artifact, and warnings for the user."""

    artifact: Artifact
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Learned:
    """Fitted parameters, with prices and metrics from held-out estimates.

    `certified_on`: how many problems the certificate rests on. `extension`: the composite effort
    that the router wins by, with `composite_prices`.
    """

    parameters: Parameters
    prices: Prices
    metrics: Mapping[str, object]
    setting: Setting
    certified_on: int
    extension: Extension | None = None
    composite_prices: Prices | None = None


def fit(dataset: OutcomeSet, settings: FitSettings | None = None) -> Fitted:
    """Fit a router to the outcomes of one model.

    The default baseline is the most accurate effort. Equal prompts are one problem. Raises
    OutcomeError where the outcomes are not enough, or have no such baseline.
    """
    chosen = settings or FitSettings()
    outcomes, repeated = merged(dataset.outcomes)
    efforts, warnings = check(outcomes)
    warnings += several_kinds(outcomes)
    table = tabulate([o for o in outcomes if o.effort in efforts], efforts)
    prompts = sketch(outcomes)
    dataset, outcomes = replace(dataset, outcomes=()), ()  # a large log's rows are freed here
    fixed = fixed_of(table)
    baseline = _baseline(fixed, chosen.baseline)
    warnings += (*repeated, *_advice(fixed, baseline, chosen))
    learned = learn(table, baseline, chosen, composites=dataset.thinking)
    added = learned.extension
    if not dict(learned.prices.certified)[chosen.max_loss].leaves_baseline:
        warnings += (_uncertified(learned, chosen, baseline, is_cheapest=baseline == efforts[0]),)
    artifact = Artifact(
        model=dataset.model,
        weights=dataset.weights,
        efforts=efforts,
        baseline=baseline,
        parameters=added.parameters if added else learned.parameters,
        prices=learned.prices,
        delta=chosen.delta,
        metrics={**learned.metrics, "most_accurate": fixed.efforts[fixed.best]},
        provenance=provenance(table, learned, chosen)
        | {"rows_skipped": dataset.skipped, SKETCH: prompts},
        composites=(added.composite,) if added else (),
        composite_prices=learned.composite_prices,
    )
    return Fitted(artifact, (*dataset.warnings, *warnings))


def learn(table: Table, baseline: str, settings: FitSettings, composites: bool = False) -> Learned:
    """Fit, certify and measure. Raises OutcomeError: no problem has outcomes at every effort.

    With `composites`, a composite effort is tried too: the tokens are thinking tokens, of which an
    engine keeps a budget.
    """
    folds = fold_of(table.cluster, settings.seed)
    with one_thread():
        cross = cross_fit(table, folds)
        fitted = Regressions.of(table, cross.setting, cross.known_share)
        lacking = shortfall(fitted.left_out_shares, cross.known_share)
        parameters = _parameters(table, cross, fitted, lacking, settings)
        hopeless = hopeless_below(float(np.nanmean(table.accuracy, axis=0).max()))
        judge = partial(
            _held_out,
            lacking=lacking,
            folds=folds,
            settings=settings,
            baseline=table.efforts.index(baseline),
            hopeless=hopeless,
        )
        added = extension(table, folds, cross, parameters, judge) if composites else None
        held_out = judge(table, parameters, cross)
        others = [
            judge(table, parameters, again, folds=other_folds)
            for other_folds, again in _repeated(table, cross, settings)
        ]
    prices = _prices([held_out, *others], settings, hopeless)
    composite_prices = _prices([added.held_out], settings, hopeless) if added else None
    if added and composite_prices:
        spent = _spent(added.held_out, composite_prices, settings.max_loss)
        if spent >= _spent(held_out, prices, settings.max_loss):
            added = composite_prices = None
    return Learned(
        parameters=parameters,
        prices=prices,
        metrics=measure(held_out, dict(prices.certified)[settings.max_loss]),
        setting=cross.setting,
        certified_on=len(held_out.p),
        extension=added,
        composite_prices=composite_prices,
    )


def _repeated(
    table: Table, cross: CrossFit, settings: FitSettings
) -> Iterator[tuple[Index, CrossFit]]:
    """Further cross-fits of few problems by the same setting, with their folds."""
    repeats = min(_REPEATED_PROBLEMS // table.size, _MAX_REPEATS)
    if table.size * settings.max_loss < _MIN_LOST:
        repeats = 1
    for repeat in range(1, repeats):
        folds = fold_of(table.cluster, settings.seed + repeat)
        yield folds, cross_fit(table, folds, [cross.setting])


def _prices(held_out: Sequence[HeldOut], settings: FitSettings, hopeless: float) -> Prices:
    certified = operating_points(held_out, [settings.max_loss], settings.delta, settings.cut_share)
    return Prices(certified, held_out[0].frontier(), hopeless)


def _spent(held_out: HeldOut, prices: Prices, max_loss: float) -> float:
    """Mean tokens of a held-out problem at the point that is certified for a loss."""
    return float(held_out.served(dict(prices.certified)[max_loss])[1].mean())


def provenance(table: Table, learned: Learned, settings: FitSettings) -> dict[str, object]:
    """Date, data and settings of a fit, for readers of the artifact."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": len(table.row_correct),
        "problems": table.size,
        "settings": asdict(settings)
        | {"penalty_c": learned.setting.c, "words": learned.setting.words, "folds": FOLDS},
    }


def _baseline(fixed: FixedEfforts, requested: str | None) -> str:
    if requested is None:
        return fixed.efforts[fixed.best]
    if requested not in fixed.efforts:
        raise OutcomeError(
            f"baseline {requested!r} has no outcomes; there are {', '.join(fixed.efforts)}"
        )
    return requested


def _advice(fixed: FixedEfforts, baseline: str, settings: FitSettings) -> Iterator[str]:
    """A warning where a cheaper effort than the baseline would do."""
    certified = certify(fixed, settings.max_loss, settings.delta)
    index = fixed.efforts.index(baseline)
    if certified and certified[0] < index:
        cheaper, tokens = certified[0], fixed.tokens.mean(axis=0)
        yield (
            f"effort {fixed.efforts[cheaper]} for every request is certified to lose at most "
            f"{settings.max_loss:g} accuracy, and saves {1 - tokens[cheaper] / tokens[index]:.0%} "
            f"of the tokens of the baseline {baseline}: see tops audit; --baseline "
            f"{fixed.efforts[cheaper]} would fit a router against it"
        )


def _uncertified(learned: Learned, settings: FitSettings, baseline: str, is_cheapest: bool) -> str:
    certified = [loss for loss, point in learned.prices.certified if point.leaves_baseline]
    bound = f"{settings.max_loss:g} with confidence {1 - settings.delta:g}"
    point = dict(learned.prices.certified)[settings.max_loss]
    if is_cheapest:
        return (
            f"the baseline {baseline} is the cheapest effort, which leaves no saving"
            f"{' but by budgets' if point.bounded else ''}: the router will always choose it"
        )
    what = "saving but by budgets" if point.bounded else "saving"
    return (
        f"no {what} could be certified at an accuracy loss of {bound} from {learned.certified_on} "
        f"problems: the router will always choose {baseline}; "
        + (
            f"a max_loss of {certified[0]:g} is certified"
            if certified
            else "more problems may change that"
        )
    )


def _parameters(
    table: Table, cross: CrossFit, fitted: Regressions, lacking: Array, settings: FitSettings
) -> Parameters:
    """Parameters from all problems; token spread and limits from held-out estimates."""
    basis = fitted.basis
    offsets, _ = fitted.kinds.rows(table.kinds, len(table.efforts))
    estimates = fitted.log_tokens + offsets[:, len(table.efforts) :]
    residual = np.log1p(table.row_tokens) - cross.log_tokens[table.row_problem, table.row_effort]
    smear = np.ones(len(table.efforts))
    for effort in range(len(table.efforts)):
        smear[effort] = np.exp(residual[table.row_effort == effort]).mean()
    spread = spreads(table, cross, settings.cut_share)
    return Parameters(
        center=basis.standardizer.center,
        scale=basis.standardizer.scale,
        low=basis.standardizer.low,
        high=basis.standardizer.high,
        p_weights=fitted.p_weights,
        p_bias=fitted.p_bias,
        token_weights=fitted.token_weights,
        token_bias=fitted.token_bias,
        vocabulary=basis.vocabulary,
        word_weights=fitted.word_weights,
        smear=smear,
        spread=spread,
        slack=settings.slack,
        top_budget=budgets(estimates, spread, settings.slack).max(axis=0),
        range_limit=max(_MIN_RANGE_LIMIT, float(np.quantile(cross.excess, 1 - _OUTLIER_SHARE))),
        known_words=KnownWords(
            weights=fitted.known_weights,
            word_weights=fitted.known_word_weights,
            bias=fitted.known_bias,
            tolerance=max(0.0, float(np.quantile(lacking, 1 - _UNKNOWN_SHARE))),
        ),
        system_share=float(table.has_system.mean()),
        top_tokens=np.full(len(table.efforts), np.inf),
        kinds=fitted.kinds,
    )


def _held_out(
    table: Table,
    parameters: Parameters,
    cross: CrossFit,
    lacking: Array,
    folds: Index,
    settings: FitSettings,
    baseline: int,
    hopeless: float,
) -> HeldOut:
    """Held-out estimates of the problems with outcomes at every effort.

    `lacking` (N,): the held-out shortfall of known words of each problem.
    """
    rows = complete_rows(table)
    tokens = np.maximum(np.exp(cross.log_tokens[rows]) * parameters.smear - 1.0, 0.0)
    like = in_distribution(parameters, cross.excess, lacking, table.has_system)
    trusted = table.readable & like & (cross.p.max(axis=1) >= hopeless)
    bounds = held_out_budgets(table, cross, folds, settings.cut_share, settings.slack)
    bounds[:, len(table.efforts) - parameters.composites :] = np.inf  # they have their own
    bounded_accuracy, bounded_spent = within_budgets(table, bounds)
    return HeldOut(
        p=cross.p[rows],
        tokens=tokens,
        accuracy=table.accuracy[rows],
        spent=table.tokens[rows],
        bounded_accuracy=bounded_accuracy[rows],
        bounded_spent=bounded_spent[rows],
        baseline=baseline,
        trusted=trusted[rows],
        cluster=numbered(table.cluster[rows].tolist()),
        guard=cross.guard[rows],
    )
