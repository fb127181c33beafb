"""Cross-fitting by problem: each problem is estimated by a fit without it and without its like."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from router.arrays import Array, Index
from router.estimate import sigmoid
from router.fitting.basis import Basis
from router.fitting.calibration import log_loss_rows
from router.fitting.kinds import KnownKinds, logit_effects, token_effects
from router.fitting.learner import (
    INTERCEPT_ONLY,
    SETTINGS,
    Linear,
    Setting,
    fit_log_tokens,
    fit_logits,
)
from router.fitting.table import Table
from router.parameters import range_excess

FOLDS = 5


@dataclass(frozen=True)
class CrossFit:
    """Held-out estimates of N problems at E efforts, with the `setting` that they use.

    `p` (N, E): P(correct). `log_tokens` (N, E): log(1 + tokens). `excess` (N,): summed
    `range_excess` of the features. `known_share` (N,): share of words in the vocabulary.
    `guard` (N,): `KindOffsets.guard` of problems whose kind was unknown to their fit, else 0.
    """

    setting: Setting
    p: Array
    log_tokens: Array
    excess: Array
    known_share: Array
    guard: Array


def fold_of(cluster: Index, seed: int) -> Index:
    """A random fold number (N,) per problem; the problems of a `cluster` (N,) have one fold.

    Each fold has as many clusters, which are numbered from 0.
    """
    numbers = np.arange(int(cluster.max()) + 1, dtype=np.intp) % FOLDS
    np.random.default_rng(seed).shuffle(numbers)
    return numbers[cluster]


def cross_fit(table: Table, folds: Index, settings: Sequence[Setting] = SETTINGS) -> CrossFit:
    """Held-out estimates of every problem; `folds` (N,) are from `fold_of`.

    By the best of several `settings`, or by the only one.
    """
    shape = table.counts.shape
    p = {setting: np.zeros(shape) for setting in settings}
    log_tokens = np.zeros(shape)
    excess, known_share = np.zeros(shape[0]), np.zeros(shape[0])
    guard = {setting: np.zeros(shape[0]) for setting in settings}
    for fold in range(FOLDS):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        x, words = table.prompts(train)
        basis = Basis.learn(x, words, table.read_by(train, words))
        z = basis.predictors(x, words)
        x, words = table.prompts(test)
        z_test = basis.predictors(x, words)
        known = KnownKinds.of(table.kinds_of(train))
        kinds, test_kinds = known.rows(table.kinds_of(train)), known.rows(table.kinds_of(test))
        size = len(known.names)
        fitted_tokens = fit_log_tokens(z, table.tokens[train])
        effects = token_effects(kinds, size, fitted_tokens(z), table.tokens[train])
        log_tokens[test] = fitted_tokens(z_test) + effects[test_kinds]
        excess[test] = range_excess(basis.standardizer, x).sum(axis=1)
        known_share[test] = basis.vocabulary.known_shares(words, table.read_by(test, words))
        logits: Linear | None = None
        for setting in settings:
            width = z.shape[1] if setting.words else x.shape[1]
            successes, counts = table.successes[train], table.counts[train]
            logits = fit_logits(z[:, :width], successes, counts, setting.c, logits)
            effects = logit_effects(kinds, size, logits(z[:, :width]), successes, counts)
            p[setting][test] = sigmoid(logits(z_test[:, :width]) + effects.intercepts[test_kinds])
            guard[setting][test[test_kinds == size]] = effects.guard if size else 0.0
        del x, words, z, z_test  # the largest arrays of a fit, freed before the next fold's
    chosen = settings[0] if len(settings) == 1 else _select(p, table.accuracy)
    return CrossFit(chosen, p[chosen], log_tokens, excess, known_share, guard[chosen])


def _select(p: dict[Setting, Array], accuracy: Array) -> Setting:
    """The setting of the lowest held-out log loss, if it clearly beats INTERCEPT_ONLY.

    Clearly: by more than one standard error of the paired difference over problems. On few problems
    the best of many settings looks better than it is (the one-standard-error rule of Breiman et
    al., "Classification and Regression Trees", 1984).
    """
    losses = {setting: log_loss_rows(estimates, accuracy) for setting, estimates in p.items()}
    best = min(SETTINGS, key=lambda setting: float(losses[setting].mean()))
    gain = losses[INTERCEPT_ONLY] - losses[best]
    clear = gain.mean() > gain.std() / np.sqrt(len(gain))
    return best if clear else INTERCEPT_ONLY
