"""Fit a router to one model's outcomes: learn, cross-fit by problem, certify, measure.

    tops fit OUTCOMES... --out router.json

Everything that is measured or certified rests on estimates of problems that the estimating fit
had not seen.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import numpy as np

from router.artifact import Artifact
from router.estimate import Array, Parameters, range_excess, sigmoid
from router.fitting.basis import Basis
from router.fitting.calibration import Held, log_loss_rows, measure, price_table
from router.fitting.learner import BLIND, SETTINGS, Setting, fit_log_tokens, fit_logits, one_thread
from router.fitting.outcomes import OutcomeError, Reading
from router.fitting.table import Index, Table, check, tabulate
from router.policy import Prices

_FOLDS = 5
_FOREIGN_SHARE = 0.01
"""Share of prompts like those of the fit that may be taken for foreign, by each of two signs."""
_FOREIGN_FLOOR = 1.0
_KNOWN_CEILING = 0.9
_KNOWN_SLACK = 0.1
"""A prompt is foreign only where clearly fewer of its words are known than of the fit's prompts."""


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
    """Held-out estimates of N problems at E efforts.

    `p` (N, E): P(correct); `log_tokens` (N, E): log(1 + tokens); `excess` (N,) over the features'
    range and share of `known` words (N,): what tells foreign prompts.
    """

    p: Array
    log_tokens: Array
    excess: Array
    known: Array


@dataclass(frozen=True)
class Learned:
    """What the outcomes of a table came to, certified and measured on held-out estimates."""

    parameters: Parameters
    prices: Prices
    metrics: Mapping[str, object]
    setting: Setting
    certified_on: int


def fit(reading: Reading, settings: FitSettings | None = None) -> Fitted:
    """Fit a router. Raises OutcomeError where the outcomes do not carry one."""
    chosen = settings or FitSettings()
    efforts, warnings = check(reading.outcomes)
    table = tabulate([o for o in reading.outcomes if o.effort in efforts], efforts)
    baseline = _baseline(efforts, table, chosen.baseline)
    learned = learn(table, baseline, chosen)
    if dict(learned.prices.certified)[chosen.max_loss] is None:
        warnings += (_uncertified(learned, chosen, baseline),)
    artifact = Artifact(
        model=reading.model,
        weights=reading.weights,
        efforts=efforts,
        baseline=baseline,
        parameters=learned.parameters,
        prices=learned.prices,
        delta=chosen.delta,
        metrics=learned.metrics,
        provenance=provenance(table, learned, chosen) | {"rows_skipped": reading.skipped},
    )
    return Fitted(artifact, (*reading.warnings, *warnings))


def learn(table: Table, baseline: str, settings: FitSettings) -> Learned:
    """Parameters and certified prices. Raises OutcomeError: no problem has every effort."""
    folds = fold_of(len(table.problem_ids), settings.seed)
    with one_thread():
        setting, cross = _cross_fit(table, folds)
        parameters = _finish(table, setting, cross, settings)
    held = _hold(table, parameters, cross, table.efforts.index(baseline))
    certified = price_table(held, [settings.max_loss], settings.delta)
    return Learned(
        parameters=parameters,
        prices=Prices(certified, held.frontier()),
        metrics=measure(held, dict(certified)[settings.max_loss]),
        setting=setting,
        certified_on=len(held.p),
    )


def provenance(table: Table, learned: Learned, settings: FitSettings) -> dict[str, object]:
    """What a fit was made from and how, for readers of the artifact."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": len(table.row_correct),
        "problems": len(table.problem_ids),
        "settings": asdict(settings)
        | {"penalty_c": learned.setting.c, "words": learned.setting.words, "folds": _FOLDS},
    }


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
    return "high" if "high" in efforts else efforts[_best_fixed(table)]


def _best_fixed(table: Table) -> int:
    """The effort of the fewest tokens among those within a standard error of the most accurate."""
    means = np.nanmean(table.accuracy, axis=0)
    lead = table.accuracy[:, [int(means.argmax())]] - table.accuracy
    error = np.nanstd(lead, axis=0) / np.sqrt(np.isfinite(lead).sum(axis=0))
    good = np.nanmean(lead, axis=0) <= error
    return int(np.where(good, np.nanmean(table.tokens, axis=0), np.inf).argmin())


def _uncertified(learned: Learned, settings: FitSettings, baseline: str) -> str:
    certified = [loss for loss, price in learned.prices.certified if price is not None]
    promise = f"{settings.max_loss:g} with confidence {1 - settings.delta:g}"
    return (
        f"no saving could be certified at a loss of {promise} from {learned.certified_on} "
        f"problems: the router will keep to {baseline}; "
        + (
            f"a max_loss of {certified[0]:g} is certified"
            if certified
            else "more problems may change that"
        )
    )


def _cross_fit(table: Table, folds: Index) -> tuple[Setting, _CrossFit]:
    """Held-out estimates for every problem, with the setting that `_select` takes."""
    shape = table.counts.shape
    p = {setting: np.zeros(shape) for setting in SETTINGS}
    log_tokens = np.zeros(shape)
    beyond, known = np.zeros(shape[0]), np.zeros(shape[0])
    for fold in range(_FOLDS):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        x, words = table.only(train)
        basis = Basis.learn(x, words)
        z = basis.rows(x, words)
        x, words = table.only(test)
        unseen = basis.rows(x, words)
        log_tokens[test] = fit_log_tokens(z, table.tokens[train])(unseen)
        beyond[test] = range_excess(basis.frame, x).sum(axis=1)
        known[test] = [basis.vocabulary.known_share(said) for said in words]
        for setting in SETTINGS:
            width = z.shape[1] if setting.words else x.shape[1]
            logits = fit_logits(
                z[:, :width], table.successes[train], table.counts[train], setting.c
            )
            p[setting][test] = sigmoid(logits(unseen[:, :width]))
    chosen = _select(p, table.accuracy)
    return chosen, _CrossFit(p[chosen], log_tokens, beyond, known)


def _select(p: dict[Setting, Array], accuracy: Array) -> Setting:
    """The setting of the least held-out log loss, where it beats knowing nothing of the prompt.

    By more than one standard error of the paired difference over problems: on few problems the
    best of many settings looks better than it is (the one-standard-error rule of Breiman et al.,
    "Classification and Regression Trees", 1984).
    """
    losses = {setting: log_loss_rows(chance, accuracy) for setting, chance in p.items()}
    best = min(SETTINGS, key=lambda setting: float(losses[setting].mean()))
    gain = losses[BLIND] - losses[best]
    clear = gain.mean() > gain.std() / np.sqrt(len(gain))
    return best if clear else BLIND


def _finish(table: Table, setting: Setting, cross: _CrossFit, settings: FitSettings) -> Parameters:
    """Learn from all problems; spread of tokens and foreign limits come from the held-out ones."""
    basis = Basis.learn(table.x, table.words)
    z = basis.rows(table.x, table.words)
    width = z.shape[1] if setting.words else table.x.shape[1]
    logits = fit_logits(z[:, :width], table.successes, table.counts, setting.c)
    p_weights, p_words, p_bias = basis.unfold(logits)
    token_weights, token_words, token_bias = basis.unfold(fit_log_tokens(z, table.tokens))
    residual = np.log1p(table.row_tokens) - cross.log_tokens[table.row_problem, table.row_effort]
    smear = np.ones(len(table.efforts))
    spread = np.ones(len(table.efforts))
    for effort in range(len(table.efforts)):
        of_effort = table.row_effort == effort
        smear[effort] = np.exp(residual[of_effort]).mean()
        right = residual[of_effort & (table.row_correct == 1)]
        spread[effort] = np.exp(upper_quantile(right, settings.cut))
    known = float(np.quantile(cross.known, _FOREIGN_SHARE))
    return Parameters(
        center=basis.frame.center,
        scale=basis.frame.scale,
        low=basis.frame.low,
        high=basis.frame.high,
        p_weights=p_weights,
        p_bias=p_bias,
        token_weights=token_weights,
        token_bias=token_bias,
        vocabulary=basis.vocabulary,
        word_weights=np.hstack([p_words, token_words]),
        smear=smear,
        spread=spread,
        slack=settings.slack,
        range_limit=max(_FOREIGN_FLOOR, float(np.quantile(cross.excess, 1 - _FOREIGN_SHARE))),
        known_share=max(min(known - _KNOWN_SLACK, _KNOWN_CEILING), 0.0),
    )


def upper_quantile(values: Array, beyond: float) -> float:
    """The value that a new one exceeds with probability at most `beyond`, if exchangeable.

    The split-conformal quantile (Vovk et al. 2005); the largest value where there are too few.
    """
    if len(values) == 0:
        return 0.0
    place = int(np.ceil((len(values) + 1) * (1 - beyond)))
    return float(np.sort(values)[min(place, len(values)) - 1])


def _hold(table: Table, parameters: Parameters, cross: _CrossFit, baseline: int) -> Held:
    """Held-out estimates of the problems that were judged at every effort."""
    rows = table.complete
    if not rows.any():
        raise OutcomeError(
            f"no problem was judged at every effort ({', '.join(table.efforts)}): generate the "
            "missing ones, or leave an effort out"
        )
    tokens = np.maximum(np.exp(cross.log_tokens[rows]) * parameters.smear - 1.0, 0.0)
    near = cross.excess[rows] <= parameters.range_limit
    return Held(
        p=cross.p[rows],
        tokens=tokens,
        accuracy=table.accuracy[rows],
        spent=table.tokens[rows],
        baseline=baseline,
        trusted=near & (cross.known[rows] >= parameters.known_share) & table.readable[rows],
    )
