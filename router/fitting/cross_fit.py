"""Cross-fitting by problem: each problem is estimated by a fit without it and without its like."""

from dataclasses import dataclass

import numpy as np

from router.arrays import Array, Index
from router.estimate import sigmoid
from router.fitting.basis import Basis
from router.fitting.calibration import log_loss_rows
from router.fitting.learner import INTERCEPT_ONLY, SETTINGS, Setting, fit_log_tokens, fit_logits
from router.fitting.table import Table
from router.parameters import range_excess

FOLDS = 5


@dataclass(frozen=True)
class CrossFit:
    """Held-out estimates of N problems at E efforts, with the `setting` that they use.

    `p` (N, E): P(correct). `log_tokens` (N, E): log(1 + tokens). `excess` (N,): summed
    `range_excess` of the features. `known_share` (N,): share of words in the vocabulary.
    """

    setting: Setting
    p: Array
    log_tokens: Array
    excess: Array
    known_share: Array


def fold_of(cluster: Index, seed: int) -> Index:
    """A random fold number (N,) per problem; the problems of a `cluster` (N,) have one fold.

    Each fold has as many clusters, which are numbered from 0.
    """
    numbers = np.arange(int(cluster.max()) + 1, dtype=np.intp) % FOLDS
    np.random.default_rng(seed).shuffle(numbers)
    return numbers[cluster]


def cross_fit(table: Table, folds: Index) -> CrossFit:
    """Held-out estimates of every problem; `folds` (N,) are from `fold_of`."""
    shape = table.counts.shape
    p = {setting: np.zeros(shape) for setting in SETTINGS}
    log_tokens = np.zeros(shape)
    excess, known_share = np.zeros(shape[0]), np.zeros(shape[0])
    for fold in range(FOLDS):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        x, words = table.prompts(train)
        basis = Basis.learn(x, words, table.read_by(train))
        z = basis.predictors(x, words)
        x, words = table.prompts(test)
        z_test = basis.predictors(x, words)
        log_tokens[test] = fit_log_tokens(z, table.tokens[train])(z_test)
        excess[test] = range_excess(basis.standardizer, x).sum(axis=1)
        known_share[test] = basis.vocabulary.known_shares(words, table.read_by(test))
        for setting in SETTINGS:
            width = z.shape[1] if setting.words else x.shape[1]
            logits = fit_logits(
                z[:, :width], table.successes[train], table.counts[train], setting.c
            )
            p[setting][test] = sigmoid(logits(z_test[:, :width]))
    chosen = _select(p, table.accuracy)
    return CrossFit(chosen, p[chosen], log_tokens, excess, known_share)


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
