"""Fit a router to one model's outcomes: learn, cross-fit by problem, certify, measure.

    tops fit OUTCOMES... --out router.json

Everything that is measured or certified rests on estimates of problems that the estimating fit
had not seen.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from router.artifact import Artifact
from router.calibration import Held, epsilon_table, log_loss, measure
from router.estimate import Array, Frame, Parameters, range_excess, sigmoid
from router.learner import SETTINGS, Setting, fit_log_tokens, fit_logits, one_thread
from router.outcomes import OutcomeError, Reading
from router.table import Index, Table, check, tabulate

_FOLDS = 5
_FLAT = 1e-9
_FOREIGN_SHARE = 0.01
"""Share of prompts like those of the fit that may be taken for foreign."""
_FOREIGN_FLOOR = 1.0
_SCALE_FLOOR = 0.25
"""Least standard deviation of a feature, in its own units: nearly constant features stay tame."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What an operator may ask of a fit; `cut` is the share of correct answers a budget may cut."""

    baseline: str | None = None
    max_loss: float = 0.01
    delta: float = 0.1
    cut: float = 0.02
    slack: float = 1.2
    seed: int = 0


@dataclass(frozen=True)
class Fitted:
    """The artifact and what the user should be told."""

    artifact: Artifact
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _CrossFit:
    """Held-out estimates (N, E): P(correct), and log(1 + tokens); and the excess (N,)."""

    p: Array
    log_tokens: Array
    excess: Array


def fit(reading: Reading, settings: FitSettings | None = None) -> Fitted:
    """Fit a router. Raises OutcomeError where the outcomes do not carry one."""
    chosen = settings or FitSettings()
    efforts, warnings = check(reading.outcomes)
    table = tabulate([o for o in reading.outcomes if o.effort in efforts], efforts)
    baseline = _baseline(efforts, table, chosen.baseline)
    folds = fold_of(len(table.problem_ids), chosen.seed)
    with one_thread():
        setting, cross = _cross_fit(table, folds)
        parameters = _finish(table, setting, cross, chosen)
    held = _hold(table, parameters.smear, cross, efforts.index(baseline))
    epsilons = epsilon_table(held, [chosen.max_loss], chosen.delta)
    if epsilons[chosen.max_loss] is None:
        warnings += (
            f"no saving could be certified at a loss of {chosen.max_loss:g} with confidence "
            f"{1 - chosen.delta:g} from {len(held.p)} problems: the router will keep to {baseline}",
        )
    artifact = Artifact(
        model=reading.model,
        weights=reading.weights,
        efforts=efforts,
        baseline=baseline,
        parameters=parameters,
        epsilons=epsilons,
        delta=chosen.delta,
        metrics=measure(held, epsilons[chosen.max_loss]),
        provenance={
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "rows": len(table.row_correct),
            "rows_skipped": reading.skipped,
            "problems": len(table.problem_ids),
            "settings": {
                "baseline": baseline,
                "max_loss": chosen.max_loss,
                "cut": chosen.cut,
                "slack": chosen.slack,
                "seed": chosen.seed,
                "penalty_c": setting.c,
                "own_slopes": setting.own,
                "folds": _FOLDS,
            },
        },
    )
    return Fitted(artifact, (*reading.warnings, *warnings))


def fold_of(problems: int, seed: int) -> Index:
    """A fold number (N,) for each problem, evenly and at random."""
    numbers = np.arange(problems, dtype=np.intp) % _FOLDS
    np.random.default_rng(seed).shuffle(numbers)
    return numbers


def _baseline(efforts: tuple[str, ...], table: Table, asked: str | None) -> str:
    if asked is not None:
        if asked not in efforts:
            raise OutcomeError(
                f"baseline {asked!r} has no outcomes; there are {', '.join(efforts)}"
            )
        return asked
    if "high" in efforts:
        return "high"
    return efforts[int(np.nanmean(table.tokens, axis=0).argmax())]


def _frame(x: Array) -> Frame:
    """Centre, scale and range of the features that a fit sees."""
    center = x.mean(axis=0)
    scale = np.maximum(x.std(axis=0), _SCALE_FLOOR)
    z = (x - center) / scale
    low, high = z.min(axis=0), z.max(axis=0)
    flat = high - low < _FLAT
    center[flat] = x[0, flat]
    low[flat] = high[flat] = 0.0
    return Frame(center, scale, low, high)


def _cross_fit(table: Table, folds: Index) -> tuple[Setting, _CrossFit]:
    """Held-out estimates for every problem, with the setting of the least held-out log loss."""
    shape = table.counts.shape
    p = {setting: np.zeros(shape) for setting in SETTINGS}
    log_tokens = np.zeros(shape)
    beyond = np.zeros(shape[0])
    for fold in range(_FOLDS):
        train, test = folds != fold, folds == fold
        frame = _frame(table.x[train])
        z = frame.standard(table.x[train])
        unseen = frame.clipped(table.x[test])
        tokens = fit_log_tokens(z, table.tokens[train])
        log_tokens[test] = tokens(unseen)
        beyond[test] = range_excess(frame, table.x[test]).sum(axis=1)
        for setting in SETTINGS:
            logits = fit_logits(z, table.successes[train], table.counts[train], setting)
            p[setting][test] = sigmoid(logits(unseen))
    best = min(SETTINGS, key=lambda setting: log_loss(p[setting], table.accuracy))
    return best, _CrossFit(p[best], log_tokens, beyond)


def _finish(table: Table, setting: Setting, cross: _CrossFit, settings: FitSettings) -> Parameters:
    """Learn from all problems; spread of tokens and range limit come from the held-out ones."""
    frame = _frame(table.x)
    z = frame.standard(table.x)
    logits = fit_logits(z, table.successes, table.counts, setting)
    tokens = fit_log_tokens(z, table.tokens)
    residual = np.log1p(table.row_tokens) - cross.log_tokens[table.row_problem, table.row_effort]
    smear = np.ones(len(table.efforts))
    spread = np.ones(len(table.efforts))
    for effort in range(len(table.efforts)):
        of_effort = table.row_effort == effort
        smear[effort] = np.exp(residual[of_effort]).mean()
        right = residual[of_effort & (table.row_correct == 1)]
        spread[effort] = np.exp(upper_quantile(right, settings.cut))
    return Parameters(
        center=frame.center,
        scale=frame.scale,
        low=frame.low,
        high=frame.high,
        p_weights=logits.weights,
        p_bias=logits.bias,
        token_weights=tokens.weights,
        token_bias=tokens.bias,
        smear=smear,
        spread=spread,
        slack=settings.slack,
        range_limit=max(_FOREIGN_FLOOR, float(np.quantile(cross.excess, 1 - _FOREIGN_SHARE))),
    )


def upper_quantile(values: Array, beyond: float) -> float:
    """The value that a new one exceeds with probability at most `beyond`, if exchangeable.

    The split-conformal quantile (Vovk et al. 2005); the largest value where there are too few.
    """
    if len(values) == 0:
        return 0.0
    place = int(np.ceil((len(values) + 1) * (1 - beyond)))
    return float(np.sort(values)[min(place, len(values)) - 1])


def _hold(table: Table, smear: Array, cross: _CrossFit, baseline: int) -> Held:
    """Held-out estimates of the problems that were judged at every effort."""
    rows = table.complete
    tokens = np.maximum(np.exp(cross.log_tokens[rows]) * smear - 1.0, 0.0)
    return Held(cross.p[rows], tokens, table.accuracy[rows], table.tokens[rows], baseline)
