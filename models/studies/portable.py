"""Fits the router for models without outcomes: python -m models.studies.portable DATA.

One difficulty for all models: the logit of the share of a panel of models that solves a problem,
regressed on its question alone (`router.question`) as `router.fitting.fit` does. Shares come from
judged outcomes of many models, else from human difficulty; everyday chat counts as easy. The
accuracy that a cheaper effort loses is measured on hard problems (AIME), and set with a margin on
easy ones. DATA has the folders problems/, chat/ and outcomes/ with the files named below.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

import click
import numpy as np

from models.studies.sources import ASSUMED, CHAT, GRADED, PANELS, Problem, read_all, rows_of
from router.arrays import Array, Index
from router.artifact import Artifact, save
from router.estimate import sigmoid
from router.fitting.basis import Basis
from router.fitting.cross_fit import fold_of
from router.fitting.learner import Linear, fit_logits, one_thread
from router.known_words import KnownWords
from router.parameters import Parameters, range_excess
from router.policy import FrontierPoint, OperatingPoint, Prices, hopeless_below
from router.word_table import WordTable

EFFORTS = ("low", "medium", "high")
_EASY_ENOUGH = {"low": 2.0, "medium": 1.0, "high": 0.0}
"""The logit of the panel's share above which an effort is assumed to lose nothing: 88 % for low,
73 % for medium. Set with a margin: the tag model of TOPS (arXiv 2502.18080) lost nothing at low
effort on GSM8K and one point on MATH-500, of which panels solve 86 % and less."""
_TOKENS_PER_LOGIT = 1.3
"""The decrease of log tokens per logit: TOPS spends 7,260 tokens on AIME24 and 412 on GSM8K, and
the logits of their panels' shares differ by 2.2."""
_C = 0.1
_REPEATS = {"mt_bench": 3, "arena_hard_v0.1": 3, "greetings": 5, "proofs": 8}
"""The weights of everyday prompts, which are few here but most of what is served."""
_FOREIGN_SHARE = 0.01

_HARD = "epoch_otis_aime"
_LADDERED = ("openai/gpt-5.1",)
"""The models there with outcomes at each of EFFORTS."""


def portable(data: Path) -> Artifact:
    """The fitted artifact.

    Raises:
        OSError: a file of `data` cannot be read.
    """
    problems = read_all(data)
    x = np.stack([problem.prompt.x for problem in problems])
    words = WordTable.of(problem.prompt.words for problem in problems)
    share = np.array([[problem.share] for problem in problems])
    everything = np.arange(len(problems))
    with one_thread():
        ease, excess = _cross_fit(problems, x, words, share)
        basis, linear = _learn(problems, x, words, share, everything)
    hard = float(ease[[problem.source == _HARD for problem in problems]].mean())
    metrics = _measure(problems, ease, share[:, 0])
    return Artifact(
        model="models in general",
        weights=None,
        efforts=EFFORTS,
        baseline="high",
        parameters=_parameters(basis, linear, excess, HardEnd.read(data), hard),
        prices=_prices(float(share.mean())),
        delta=1.0,
        metrics=metrics,
        provenance={
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "problems": len(problems),
            "sources": PANELS
            | dict.fromkeys((*GRADED, *CHAT, *ASSUMED), "see models/studies/sources.py"),
        },
        calibrated=False,
    )


def _prices(accuracy: float) -> Prices:
    frontier = (FrontierPoint(0.0, accuracy, 0.0),)
    return Prices(((0.0, OperatingPoint()),), frontier, hopeless_below(accuracy))


def _learn(
    problems: Sequence[Problem], x: Array, words: WordTable, share: Array, train: Index
) -> tuple[Basis, Linear]:
    """The basis and the regression of the share's logit, learned from the rows `train`."""
    weights = np.array([_REPEATS.get(problem.source, 1) for problem in problems], dtype=np.intp)
    train_words = words.rows(train)
    basis = Basis.learn(x[train], train_words)
    repeats = weights[train]
    predictors = np.repeat(basis.predictors(x[train], train_words), repeats, axis=0)
    target = np.repeat(share[train], repeats, axis=0)
    return basis, fit_logits(predictors, target, np.ones_like(target), _C)


def _cross_fit(
    problems: Sequence[Problem], x: Array, words: WordTable, share: Array
) -> tuple[Array, Array]:
    """Held-out logit and excess over the fitted range of each problem, both (N,)."""
    folds = fold_of(np.arange(len(x)), 0)
    ease, excess = np.zeros(len(x)), np.zeros(len(x))
    for fold in range(int(folds.max()) + 1):
        test = np.flatnonzero(folds == fold)
        basis, linear = _learn(problems, x, words, share, np.flatnonzero(folds != fold))
        ease[test] = linear(basis.predictors(x[test], words.rows(test)))[:, 0]
        excess[test] = range_excess(basis.standardizer, x[test]).sum(axis=1)
    return ease, excess


@dataclass(frozen=True)
class HardEnd:
    """What each of E efforts does on the hard problems, all (E,).

    `lost`: logits lost against `high`. `log_tokens`: log of mean tokens. `top_tokens`: the mean
    tokens of the problem that takes most.
    """

    lost: Array
    log_tokens: Array
    top_tokens: Array

    @classmethod
    def read(cls, data: Path) -> "HardEnd":
        """Measured on the generations of `_LADDERED` models."""
        correct: defaultdict[str, list[float]] = defaultdict(list)
        tokens: defaultdict[str, defaultdict[str, list[float]]]
        tokens = defaultdict(lambda: defaultdict(list))
        columns = "model", "effort", "problem_id", "correct", "tokens"
        for model, effort, problem_id, right, spent in rows_of(data, _HARD, *columns):
            if model in _LADDERED and effort in EFFORTS and spent:
                correct[effort].append(float(right))
                tokens[effort][problem_id].append(float(spent))
        chance: Array = np.array([fmean(correct[effort]) for effort in EFFORTS])
        logit: Array = np.log(chance / (1 - chance))
        means = [[fmean(cell) for cell in tokens[effort].values()] for effort in EFFORTS]
        return cls(
            logit[-1] - logit,
            np.log(np.array([fmean(of_problems) for of_problems in means])),
            np.array([max(of_problems) for of_problems in means]),
        )


def _parameters(
    basis: Basis, linear: Linear, excess: Array, hard_end: HardEnd, hard: float
) -> Parameters:
    """P(correct) at high effort is the panel's share; a cheaper effort loses logits linearly.

    Args:
        basis: the predictors of a prompt.
        linear: the regression of the share's logit on them.
        excess: each problem's held-out excess over the fitted range, (N,).
        hard_end: figures of the hard problems; an effort loses nothing from `_EASY_ENOUGH` on.
        hard: the mean logit of the hard problems.
    """
    slopes, columns, biases = basis.unfold(linear)
    weights: Array = slopes[0]
    word_slopes: Array = columns[:, 0]
    bias = float(biases[0])
    easy: Array = np.array([_EASY_ENOUGH[effort] for effort in EFFORTS], dtype=np.float64)
    loss_slope: Array = hard_end.lost / (easy - hard)
    token_slope: Array = np.full(len(EFFORTS), -_TOKENS_PER_LOGIT)
    ones: Array = np.ones(len(EFFORTS))
    return Parameters(
        center=basis.standardizer.center,
        scale=basis.standardizer.scale,
        low=basis.standardizer.low,
        high=basis.standardizer.high,
        p_weights=(1 + loss_slope)[:, np.newaxis] * weights,
        p_bias=(1 + loss_slope) * bias - loss_slope * easy,
        token_weights=token_slope[:, np.newaxis] * weights,
        token_bias=hard_end.log_tokens - _TOKENS_PER_LOGIT * (bias - hard),
        vocabulary=basis.vocabulary,
        word_weights=word_slopes[:, np.newaxis] * np.hstack([1 + loss_slope, token_slope]),
        smear=ones,
        spread=ones,
        slack=1.0,
        top_budget=np.full(len(EFFORTS), np.inf),
        range_limit=max(1.0, float(np.quantile(excess, 1 - _FOREIGN_SHARE))),
        known_words=KnownWords.at_least(0.0, len(weights), len(basis.vocabulary.words)),
        system_share=0.5,  # it reads the question alone, whatever the system message
        top_tokens=hard_end.top_tokens,
    )


def _measure(problems: Sequence[Problem], ease: Array, share: Array) -> dict[str, object]:
    """By source: mean share and estimate, and how well held-out logits order the problems."""
    names = np.array([problem.source for problem in problems])
    metrics: dict[str, object] = {"problems": len(problems)}
    for name in dict.fromkeys(names.tolist()):
        mask = names == name
        metrics[name] = {
            "problems": int(mask.sum()),
            "share": float(share[mask].mean()),
            "estimated": float(sigmoid(ease[mask]).mean()),
            "rank_correlation": _rank_correlation(ease[mask], share[mask]),
        }
    return metrics


def _rank_correlation(left: Array, right: Array) -> float | None:
    """Spearman's coefficient; None where one side is constant."""
    ranks = [_ranks(left), _ranks(right)]
    if any(rank.std() == 0 for rank in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: Array) -> Array:
    """Twice the ranks of `values` (N,); equal values share their mean rank."""
    ordered = np.sort(values)
    left = np.searchsorted(ordered, values)
    return (left + np.searchsorted(ordered, values, side="right")).astype(np.float64)


@click.command(help=__doc__)
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("router/portable.json"),
    show_default=True, metavar="FILE", help="Router to write.",
)  # fmt: skip
def main(data: Path, out: Path) -> None:
    try:
        artifact = portable(data)
        save(artifact, out)
    except OSError as error:
        raise click.ClickException(str(error)) from error
    for name, figures in artifact.metrics.items():
        click.echo(f"{name}: {figures}")


if __name__ == "__main__":
    main(prog_name="python -m models.studies.portable")
