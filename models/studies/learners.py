"""Learners of P(correct), compared on the same outcomes and cross-fitted by problem.

`router.fitting.fit` ships one of them; the others are the comparison. Needs scikit-learn (extra
`study`).
"""

from collections.abc import Callable, Mapping

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from router.arrays import Array, Index
from router.estimate import sigmoid
from router.evaluation.comparison import Means, area
from router.fitting.basis import Basis
from router.fitting.calibration import PRICES, log_loss_rows
from router.fitting.cross_fit import fold_of
from router.fitting.learner import fit_log_tokens, fit_logits, one_thread
from router.fitting.table import Table
from router.policy import choose_rows

_FOLDS = 5
_C_FEATURES, _C_WORDS = 0.1, 0.01
_NEIGHBOURS = 25
_GUARD_NEIGHBOURS = 100
_CLEAR = 1.0
"""Standard errors."""

Learner = Callable[[Table, list[str], Index, Index], Array]
"""P(correct) (N_test, E) from the table, the prompts' texts (N,), and train and test rows."""


def cross_fit(learner: Learner, table: Table, texts: list[str]) -> Array:
    """Held-out P(correct) (N, E) of each problem and effort."""
    probabilities = np.zeros(table.counts.shape)
    for train, test in _splits(table):
        probabilities[test] = learner(table, texts, train, test)
    return probabilities


def cross_fit_tokens(table: Table) -> Array:
    """Held-out tokens (N, E), which all learners share."""
    tokens = np.zeros(table.counts.shape)
    for train, test in _splits(table):
        basis = Basis.learn(*table.prompts(train))
        linear = fit_log_tokens(basis.predictors(*table.prompts(train)), table.tokens[train])
        tokens[test] = np.expm1(np.clip(linear(basis.predictors(*table.prompts(test))), 0, 16))
    return tokens


def judge(table: Table, p: Array, tokens: Array) -> tuple[float, float, float]:
    """Log loss, AUC (mean over efforts), and area gained over mixing fixed efforts, in points.

    Args:
        table: the outcomes of N problems at E efforts.
        p: P(correct), (N, E).
        tokens: expected tokens, (N, E).
    """
    rows = table.complete
    accuracy, spent = table.accuracy[rows], table.tokens[rows]
    index = np.arange(len(accuracy))
    chosen = [choose_rows(p[rows], tokens[rows], price) for price in PRICES]
    frontier = Means(
        np.array([accuracy[index, c].mean() for c in chosen]),
        np.array([spent[index, c].mean() for c in chosen]),
    )
    fixed = Means(accuracy.mean(axis=0), spent.mean(axis=0))
    aucs = [
        roc_auc_score(
            np.repeat([1, 0], len(index)),
            np.tile(p[rows, effort], 2),
            sample_weight=np.concatenate([share, 1 - share]),
        )
        for effort, share in enumerate(accuracy.T)
        if 0 < share.mean() < 1
    ]
    gain = area(frontier, fixed) - area(fixed, fixed)
    return float(log_loss_rows(p[rows], accuracy).mean()), float(np.mean(aucs)), 100 * gain


def _splits(table: Table) -> list[tuple[Index, Index]]:
    folds = fold_of(table.cluster, 0)
    return [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(_FOLDS)]


def nothing(table: Table, _: list[str], train: Index, test: Index) -> Array:
    """The mean of each effort, without the prompt."""
    return np.tile(np.nanmean(table.accuracy[train], axis=0), (len(test), 1))


def features(table: Table, _: list[str], train: Index, test: Index) -> Array:
    """Logistic regression on the features, pooled over efforts."""
    basis = Basis.learn(*table.prompts(train))
    width = table.x.shape[1]
    z = basis.predictors(*table.prompts(train))[:, :width]
    unseen = basis.predictors(*table.prompts(test))[:, :width]
    with one_thread():
        linear = fit_logits(z, table.successes[train], table.counts[train], _C_FEATURES)
    return sigmoid(linear(unseen))


def features_and_words(table: Table, _: list[str], train: Index, test: Index) -> Array:
    """The same with the principal directions of the words; `router.fitting.fit` uses this."""
    basis = Basis.learn(*table.prompts(train))
    z = basis.predictors(*table.prompts(train))
    with one_thread():
        linear = fit_logits(z, table.successes[train], table.counts[train], _C_WORDS)
    return sigmoid(linear(basis.predictors(*table.prompts(test))))


def boosting(table: Table, _: list[str], train: Index, test: Index) -> Array:
    """Gradient-boosted trees on the features, a model per effort."""

    def fit(x: Array, y: Array, weight: Array) -> Callable[[Array], Array]:
        model = HistGradientBoostingClassifier(
            max_depth=3, learning_rate=0.05, max_iter=100, l2_regularization=10.0
        ).fit(x, y, sample_weight=weight)
        return lambda unseen: model.predict_proba(unseen)[:, 1]

    return _per_effort(table, table.x[train], table.x[test], train, fit)


def tfidf(table: Table, texts: list[str], train: Index, test: Index) -> Array:
    """Logistic regression on tf-idf of words and word pairs, a model per effort."""
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, sublinear_tf=True, max_features=30_000
    )
    train_x = vectorizer.fit_transform([texts[row] for row in train])
    test_x = vectorizer.transform([texts[row] for row in test])

    def fit(x: Array, y: Array, weight: Array) -> Callable[[Array], Array]:
        model = LogisticRegression(max_iter=500).fit(x, y, sample_weight=weight)
        return lambda rows: model.predict_proba(rows)[:, 1]

    return _per_effort(table, train_x, test_x, train, fit)


def neighbours(table: Table, _: list[str], train: Index, test: Index) -> Array:
    """The mean accuracy of the nearest prompts."""
    basis = Basis.learn(*table.prompts(train))
    model = NearestNeighbors(n_neighbors=min(_NEIGHBOURS, len(train)))
    nearest = model.fit(basis.predictors(*table.prompts(train))).kneighbors(
        basis.predictors(*table.prompts(test)), return_distance=False
    )
    return np.nanmean(table.accuracy[train][nearest], axis=1)


def paired_guard(table: Table, _: list[str], train: Index, test: Index) -> Array:
    """A guard that leaves the best fixed effort only on paired evidence among the neighbours.

    An effort counts by the lower bound, `_CLEAR` standard errors below the mean, of its paired
    difference in accuracy from the best fixed effort among the nearest prompts. Bounds may leave
    [0, 1]: they are for choices and not probabilities.
    """
    basis = Basis.learn(*table.prompts(train))
    complete = train[table.complete[train]]
    model = NearestNeighbors(n_neighbors=min(_GUARD_NEIGHBOURS, len(complete)))
    nearest = model.fit(basis.predictors(*table.prompts(complete))).kneighbors(
        basis.predictors(*table.prompts(test)), return_distance=False
    )
    accuracy = table.accuracy[complete]
    best = int(accuracy.mean(axis=0).argmax())
    differences = (accuracy - accuracy[:, [best]])[nearest]
    mean = differences.mean(axis=1)
    size = differences.shape[1]
    error = np.sqrt((differences.var(axis=1) + 1 / size) / size)
    error[:, best] = 0.0
    return accuracy[nearest][:, :, [best]].mean(axis=1) + mean - _CLEAR * error


def _per_effort(
    table: Table,
    train_x: Array,
    test_x: Array,
    train: Index,
    fit: Callable[[Array, Array, Array], Callable[[Array], Array]],
) -> Array:
    """P(correct) (N_test, E) by a model per effort; problems weigh by their share of correct."""
    probabilities = np.zeros((test_x.shape[0], len(table.efforts)))
    for effort in range(len(table.efforts)):
        share = table.accuracy[train, effort]
        rows = np.flatnonzero(np.isfinite(share))
        weight = np.concatenate([share[rows], 1 - share[rows]])
        labels = np.repeat([1.0, 0.0], len(rows))
        weighted = weight > 0
        if len(np.unique(labels[weighted])) < 2:
            probabilities[:, effort] = share[rows].mean()
            continue
        repeated = np.concatenate([rows, rows])[weighted]
        model = fit(train_x[repeated], labels[weighted], weight[weighted])
        probabilities[:, effort] = model(test_x)
    return probabilities


LEARNERS: Mapping[str, Learner] = {
    "nothing": nothing,
    "nearest neighbours": neighbours,
    "paired guard": paired_guard,
    "tf-idf, logistic": tfidf,
    "features, boosted trees": boosting,
    "features, logistic": features,
    "features and words, logistic": features_and_words,
}
