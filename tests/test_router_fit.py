from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from simulated import CROSS_FITTED_ONCE, LADDER, simulated, true_p

from models.domain.stories import stories
from router.arrays import Index
from router.artifact import Artifact
from router.estimate import Predictions, estimate, predict
from router.evaluation.replay import replay
from router.features import Prompt, read_prompt
from router.fitting.budget_cuts import held_out_budgets, upper_quantile, within_budgets
from router.fitting.cross_fit import CrossFit, cross_fit, fold_of
from router.fitting.fit import FitSettings, fit
from router.fitting.learner import INTERCEPT_ONLY, fit_log_tokens, fit_logits
from router.fitting.outcomes import Outcome, OutcomeError, OutcomeSet
from router.fitting.summary import summary
from router.fitting.table import Table, tabulate
from router.messages import read_messages
from router.policy import ALWAYS_BASELINE, OperatingPoint, Policy
from router.router import Router


def prompt(text: object) -> Prompt:
    return read_prompt(read_messages(text))


def predicted(artifact: Artifact, texts: list[str]) -> Predictions:
    prompts = [prompt(text) for text in texts]
    return predict(
        artifact.parameters,
        np.stack([p.x for p in prompts]),
        [p.words for p in prompts],
        [None] * len(prompts),
    )


@pytest.fixture(scope="module")
def fitted() -> Artifact:
    return fit(simulated(1500, seed=1)).artifact


@pytest.mark.slow
def test_estimates_are_close_to_the_truth(fitted: Artifact) -> None:
    fresh = list(islice(stories(77, "test"), 400))
    estimates = predicted(fitted, [story.prompt for story in fresh])
    truth = np.array([[true_p(story, effort) for effort in LADDER] for story in fresh])
    assert np.abs(estimates.p_correct - truth).mean() < 0.05
    assert fitted.metrics["ece"] < 0.03
    assert fitted.metrics["brier"] < 0.8 * fitted.metrics["brier_without_features"]
    assert fitted.metrics["brier_ci"][0] < fitted.metrics["brier"] < fitted.metrics["brier_ci"][1]


def test_one_prompt_and_many_give_the_same_estimate(fitted: Artifact) -> None:
    text = "Eva has 10 beads. Eva finds 30 beads. How many beads does Eva have now?"
    parameters = fitted.parameters
    single = estimate(parameters, fitted.efforts, parameters.project(prompt(text)))
    many = predicted(fitted, [text])
    assert list(single.p_correct.values()) == pytest.approx(many.p_correct[0].tolist())
    assert list(single.tokens.values()) == pytest.approx(many.tokens[0].tolist())
    assert list(single.budget.values()) == many.budget[0].tolist()
    assert single.difficulty == pytest.approx(1 - many.p_correct.mean())


def test_budgets_cover_the_correct_answers(fitted: Artifact) -> None:
    """At most 2 % of the correct answers would have been cut, on stories outside the fit."""
    unbounded = replace(fitted, parameters=replace(fitted.parameters, slack=1.0))
    dataset = simulated(1500, seed=2)
    for index, effort in enumerate(fitted.efforts):
        correct = [o for o in dataset.outcomes if o.effort == effort and o.correct]
        budgets = predicted(unbounded, [str(o.messages) for o in correct]).budget[:, index]
        cut = np.mean([o.tokens > budget for o, budget in zip(correct, budgets, strict=True)])
        assert cut <= 0.02 + 3 * np.sqrt(0.02 * 0.98 / len(correct))
    tokens = predicted(fitted, [story_prompt()])
    assert tokens.budget[0, 0] == 0  # effort none spends no thinking tokens
    assert (tokens.budget[0, 1:] > tokens.tokens[0, 1:]).all()


def test_what_exceeds_its_budget_is_wrong_and_ends_there() -> None:
    table = tabulate(simulated(40).outcomes)
    budget = np.full(table.counts.shape, np.inf)
    accuracy, tokens = within_budgets(table, budget)
    assert (accuracy == table.accuracy).all()
    assert (tokens == table.tokens).all()
    budget[:] = 40.0
    budget[:, 0] = 0.0  # effort none thinks nothing
    accuracy, tokens = within_budgets(table, budget)
    assert (accuracy == table.accuracy * (table.tokens <= np.maximum(budget, 1.0))).all()
    assert (tokens == np.minimum(table.tokens, np.maximum(budget, 1.0))).all()
    assert accuracy.mean() < table.accuracy.mean()


def test_budgets_are_estimated_without_the_fold_that_they_cut() -> None:
    """One problem takes far more tokens: its own budget does not know, those of others do."""
    rows = [replace(outcome, correct=1) for outcome in simulated(50).outcomes]
    rows += [
        Outcome("long", "Eva has 9 cats.", "make-believe", effort, 0, 1, 9000, "w1")
        for effort in LADDER
    ]
    table = tabulate(rows)
    folds = fold_of(table.cluster, 0)
    cross = CrossFit(
        INTERCEPT_ONLY,
        np.full(table.counts.shape, 0.5),
        np.tile(np.log1p(table.tokens[:50].mean(axis=0)), (51, 1)),
        np.zeros(51),
        np.ones(51),
        np.zeros(51),
    )
    bounds = held_out_budgets(table, cross, folds, 0.0, 1.0)[:, -1]
    assert (bounds[folds == folds[50]] < 2000).all()
    assert (bounds[folds != folds[50]] >= 9000).all()


def test_replay_counts_what_budgets_cut(fitted: Artifact) -> None:
    narrow = replace(fitted.parameters, slack=0.1)
    fresh = simulated(150, seed=5)

    def policy(point: OperatingPoint) -> Any:
        prices = replace(fitted.prices, certified=((0.0, point),))
        result: Any = replay(replace(fitted, parameters=narrow, prices=prices), fresh, Policy())
        assert result["baselines"]["fixed:high"]["policy_accuracy_minus"] <= 0
        return result["policy"]

    free, cut = policy(ALWAYS_BASELINE), policy(OperatingPoint(margin=float("inf")))
    assert cut["accuracy"] < free["accuracy"] - 0.5
    assert cut["tokens"] < 0.5 * free["tokens"]


def story_prompt() -> str:
    return next(stories(3)).prompt


@pytest.mark.slow
def test_the_routed_loss_stays_within_max_loss() -> None:
    fresh = list(islice(stories(55, "test"), 600))
    truth = [{effort: true_p(story, effort) for effort in LADDER} for story in fresh]
    broken = 0
    for seed in range(3):
        artifact = fit(simulated(700, seed=100 + seed), FitSettings(max_loss=0.03)).artifact
        assert dict(artifact.prices.certified)[0.03].leaves_baseline
        router = Router(artifact.efforts, artifact.baseline, artifact)
        policy_loss = [
            p["high"] - p[router.route(story.prompt).effort]
            for p, story in zip(truth, fresh, strict=True)
        ]
        broken += np.mean(policy_loss) > 0.03
    assert broken == 0


def test_uninformative_prompts_get_each_effort_s_mean() -> None:
    artifact = fit(simulated(400, seed=4, flat=True), CROSS_FITTED_ONCE).artifact
    spread = predicted(artifact, [s.prompt for s in islice(stories(9), 200)]).p_correct
    assert np.abs(spread - 0.6).max() < 0.15
    assert artifact.metrics["ece"] < 0.08


def test_few_problems_give_a_warning_and_the_baseline_effort() -> None:
    fitted = fit(simulated(60))
    assert any("60 problems are few" in warning for warning in fitted.warnings)
    assert dict(fitted.artifact.prices.certified)[0.01] == ALWAYS_BASELINE
    assert any("always choose high" in warning for warning in fitted.warnings)
    artifact = fitted.artifact
    route = Router(artifact.efforts, artifact.baseline, artifact).route(story_prompt())
    assert (route.effort, route.abstained, route.budget) == ("high", None, None)
    assert route.estimate is not None
    assert not route.estimate.budget
    assert "no saving is certified" in route.reason


def test_the_baseline_can_be_named() -> None:
    dataset = simulated(200)
    assert fit(dataset, replace(CROSS_FITTED_ONCE, baseline="medium")).artifact.baseline == "medium"
    with pytest.raises(OutcomeError, match="baseline 'max' has no outcomes"):
        fit(dataset, FitSettings(baseline="max"))


def test_provenance_counts_problems_and_rows(fitted: Artifact) -> None:
    assert fitted.provenance["problems"] == 1500
    assert fitted.provenance["rows"] == 6000
    assert fitted.weights == "w1"


def test_folds_are_of_equal_size_and_depend_on_the_seed() -> None:
    assert np.bincount(fold_of(np.arange(103), 0)).tolist() == [21, 21, 21, 20, 20]
    assert (fold_of(np.arange(103), 0) != fold_of(np.arange(103), 1)).any()


def test_upper_quantile_is_conservative() -> None:
    values = np.arange(1.0, 101.0)
    assert upper_quantile(values, 0.02) == 99.0
    assert upper_quantile(values[:10], 0.02) == 10.0
    assert upper_quantile(values[:0], 0.02) == 0.0


def test_learners_recover_linear_truth_and_stay_finite_on_constant_labels() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4000, 3))
    logits = np.stack([z @ [1.0, -1.0, 0.0], z @ [1.0, 0.5, 0.0] + 1.0], axis=1)
    correct = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
    counts = np.ones_like(correct)
    linear = fit_logits(z, correct, counts, 1.0)
    assert linear.weights == pytest.approx(np.array([[1, -1, 0], [1, 0.5, 0]]), abs=0.15)
    assert linear.bias == pytest.approx([0, 1], abs=0.15)
    correct[:, 1] = 1.0
    constant = fit_logits(z, correct, counts, 1.0)
    assert np.isfinite(constant.weights).all()
    assert constant(z)[:, 1].min() > 2
    tokens = np.exp(logits + 3) - 1
    tokens[::7, 0] = np.nan
    assert fit_log_tokens(z, tokens)(z)[:, 1] == pytest.approx(logits[:, 1] + 3, abs=0.01)


@pytest.mark.slow
def test_the_baseline_is_the_most_accurate_effort_and_cheaper_ones_are_named() -> None:
    """More thinking can lower accuracy, and efforts of equal accuracy differ in tokens."""
    rng = np.random.default_rng(7)
    outcomes: list[Outcome] = []
    for outcome in simulated(350).outcomes:
        if outcome.effort == "low":
            level = rng.random()
            chances = {"brief": (0.8, 80), "medium": (0.81, 200), "high": (0.7, 400)}
            outcomes += [
                replace(outcome, effort=effort, correct=int(level < chance), tokens=tokens)
                for effort, (chance, tokens) in chances.items()
            ]
    dataset = replace(simulated(1), outcomes=tuple(outcomes))
    fitted = fit(dataset, FitSettings(max_loss=0.05))
    assert fitted.artifact.baseline == "medium"
    (cheaper,) = (w for w in fitted.warnings if "--baseline" in w)
    assert "effort brief for every request is certified to lose at most 0.05" in cheaper
    assert "60% of the tokens of the baseline medium" in cheaper


def test_where_the_baseline_is_the_cheapest_effort_no_saving_is_promised() -> None:
    outcomes = simulated(60)
    rows = tuple(replace(row, correct=int(row.effort == "none")) for row in outcomes.outcomes)
    fitted = fit(replace(outcomes, outcomes=rows), CROSS_FITTED_ONCE)
    (warning,) = (warning for warning in fitted.warnings if "always choose" in warning)
    assert "baseline none is the cheapest effort, which leaves no saving" in warning
    assert "none for every prompt" in summary(fitted.artifact, 0.001)
    assert "it is the cheapest effort" in summary(fitted.artifact, 0.001)


def test_few_problems_are_cross_fitted_several_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, where the loss that is asked for is too small to be certified on so few."""
    estimates: list[CrossFit] = []
    folds: list[tuple[int, ...]] = []

    def once(table: Table, fold: Index, *settings: Any) -> CrossFit:
        folds.append(tuple(fold.tolist()))
        estimates[:] = estimates or [cross_fit(table, fold, *settings)]
        return estimates[0]

    monkeypatch.setattr("router.fitting.fit.cross_fit", once)
    outcomes = simulated(200, seed=4)
    fit(outcomes, FitSettings(max_loss=0.02))
    assert len(folds) == len({*folds}) == 10
    fit(outcomes, FitSettings(max_loss=0.005))
    assert len(folds) == 11


@pytest.mark.slow
def test_copies_of_prompts_certify_what_the_prompts_certify() -> None:
    once = simulated(60)
    copies = tuple(
        replace(outcome, problem_id=f"{outcome.problem_id}/{copy}", messages=f"{outcome.messages} ")
        for copy in range(5)
        for outcome in once.outcomes
    )
    alone = fit(once, FitSettings(max_loss=0.05))
    copied = fit(replace(once, outcomes=copies), FitSettings(max_loss=0.05))
    assert copied.artifact.provenance["problems"] == 60
    assert copied.artifact.prices.certified == alone.artifact.prices.certified
    assert any("300 problem_ids share a prompt" in warning for warning in copied.warnings)
    assert not any("share a prompt" in warning for warning in alone.warnings)


def test_prompts_of_a_template_have_one_fold() -> None:
    cluster = np.arange(100) // 4
    folds = fold_of(cluster, 0)
    assert (folds.reshape(25, 4) == folds[::4, np.newaxis]).all()
    alike = [
        replace(outcome, problem_id=text, messages=text)
        for text in ("Add 1 to 2.", "Add 7 to 12.")
        for outcome in simulated(1).outcomes
    ]
    cluster = tabulate([*simulated(60).outcomes, *alike]).cluster
    assert len(cluster) == 62
    assert cluster[-1] == cluster[-2]


def test_words_are_used_where_features_are_uninformative() -> None:
    """Two kinds of task with equal features: only their words differ."""
    rng = np.random.default_rng(8)
    outcomes = []
    for number in range(600):
        kind = number % 2
        fruit = ["mango", "guava"][kind], ["peach", "lemon"][kind]
        text = f"Sort the words {fruit[0]} {number} {fruit[1]} into a list, please."
        for effort, chance in (("low", (0.95, 0.1)[kind]), ("high", 0.95)):
            outcomes.append(
                Outcome(str(number), text, "m", effort, 0, int(rng.random() < chance), 50, None)
            )
    dataset = OutcomeSet(tuple(outcomes), "m", None, (), 0)
    artifact = fit(dataset).artifact
    easy, hard = (
        predicted(artifact, [f"Sort the words {a} 3 {b} into a list, please."]).p_correct[0, 0]
        for a, b in (("mango", "peach"), ("guava", "lemon"))
    )
    assert easy > 0.85
    assert hard < 0.2
