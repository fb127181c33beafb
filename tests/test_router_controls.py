"""Controls without a router: 0 for a policy that knows nothing, and cleared by one that does."""

from dataclasses import replace

import numpy as np
import pytest
from simulated import LADDER, simulated

from router.arrays import Array, Index, Mask
from router.artifact import Artifact
from router.evaluation.audit import audit
from router.evaluation.audit_table import audit_table
from router.evaluation.comparison import Draws, PolicyResult
from router.evaluation.difficulty import auc, difficulty
from router.evaluation.replay import Decisions, best_fixed, report, shuffled
from router.evaluation.report import table as replay_table
from router.fitting.outcomes import OutcomeSet
from router.fitting.table import Table, tabulate

SIZE = 300


@pytest.fixture(scope="module")
def outcomes() -> OutcomeSet:
    return simulated(SIZE, seed=5)


@pytest.fixture(scope="module")
def table(outcomes: OutcomeSet) -> Table:
    return tabulate(outcomes.outcomes, tuple(LADDER))


def decisions(chosen: Index, p: Array) -> Decisions:
    size = len(chosen)
    return Decisions(
        p=p,
        budget=np.full((size, len(LADDER)), np.inf),
        chosen=chosen,
        bounded=np.zeros(size, dtype=np.bool_),
        at_prices=np.stack([chosen]),
        trusted=np.ones(size, dtype=np.bool_),
    )


def perfect(table: Table) -> Index:
    """The cheapest effort that is right; the cheapest of all where none is."""
    return table.accuracy.argmax(axis=1)


def gain_over_shuffled(table: Table, chosen: Index) -> tuple[float, float]:
    """The interval of the accuracy of `chosen` minus that of the same efforts dealt at random."""

    def result_of(efforts: Index, _: Mask | None = None) -> PolicyResult:
        rows = np.arange(len(efforts))
        return PolicyResult(table.accuracy[rows, efforts], table.tokens[rows, efforts])

    dealt = shuffled(decisions(chosen, table.accuracy), len(LADDER), result_of)
    draws = Draws([result_of(chosen), dealt])
    return draws.interval(lambda means: float(means.accuracy[0] - means.accuracy[1])).bounds


def test_a_random_router_gains_nothing_over_its_shuffled_efforts(table: Table) -> None:
    weights = ([0.25] * 4, [0.7, 0.1, 0.1, 0.1], [0.0, 0.2, 0.0, 0.8])
    covered = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        low, high = gain_over_shuffled(table, rng.choice(4, SIZE, p=weights[seed % 3]))
        covered += low <= 0 <= high
    assert covered >= 25


def test_a_good_router_clears_its_shuffled_efforts(table: Table) -> None:
    assert gain_over_shuffled(table, perfect(table))[0] > 0.05


def test_shuffled_efforts_are_those_of_the_policy(table: Table) -> None:
    chosen = np.full(SIZE, 2)
    assert gain_over_shuffled(table, chosen) == pytest.approx((0, 0))


def test_a_replay_has_the_controls(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("replay", "report", "oracle"):
        monkeypatch.setattr(f"router.evaluation.{module}.PRICES", (0.0,))
    p = np.tile(1 - 0.05 * table.x[:, :1], (1, len(LADDER)))
    figures = report(table, np.arange(SIZE), decisions(perfect(table), p), np.full(SIZE, 1))
    result: dict = {**figures, "problems": SIZE, "skipped": 0}
    assert set(result["controls"]) == {"shuffled", "fixed_on_fit"}
    for entry in result["controls"].values():
        assert entry["policy_accuracy_minus_ci"][0] <= entry["policy_accuracy_minus"]
    on_fit = result["controls"]["fixed_on_fit"]
    assert on_fit["accuracy"] == result["baselines"]["fixed:low"]["accuracy"]
    text = replay_table(result)
    assert "shuffled" in text
    assert "AUC of the difficulty" in text


@pytest.mark.parametrize(("metrics", "effort"), [({"most_accurate": "low"}, "low"), ({}, "high")])
def test_the_best_fixed_effort_is_that_of_the_fit(metrics: dict, effort: str) -> None:
    artifact = Artifact(
        "m",
        None,
        ("low", "high"),
        "high",
        None,
        None,
        0.1,
        metrics,
        {},  # type: ignore[arg-type]
    )
    assert best_fixed(artifact) == effort


def test_the_auc_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    estimates, correct = rng.integers(0, 5, 60).astype(float), rng.integers(0, 2, 60).astype(float)
    right, wrong = estimates[correct == 1], estimates[correct == 0]
    pairs = (right[:, None] > wrong).mean() + (right[:, None] == wrong).mean() / 2
    assert auc(estimates, correct) == pytest.approx(pairs)
    assert auc(correct, correct) == 1
    assert auc(-correct, correct) == 0
    assert auc(np.zeros(60), correct) == 0.5
    assert auc(estimates, np.ones(60)) is None


def with_kinds(table: Table, kinds: list[str | None]) -> Table:
    return replace(table, kinds=tuple(kinds))


def test_a_kind_is_left_out_of_the_fit(table: Table) -> None:
    """Kind b is like a; in kind c correctness has nothing to do with the prompt."""
    rng = np.random.default_rng(0)
    kinds: list[str | None] = ["abc"[row % 3] for row in range(SIZE)]
    random = np.array(kinds) == "c"
    successes = table.successes.copy()
    successes[random] = rng.integers(0, 2, (int(random.sum()), len(LADDER)))
    mixed = with_kinds(replace(table, successes=successes), kinds)
    entry = difficulty(mixed, np.arange(SIZE), mixed.accuracy)
    kind = entry["kinds"]
    assert set(kind) == {"a", "b", "c"}
    assert kind["a"]["auc"] > 0.7  # the estimates are the outcomes
    assert kind["a"]["left_out"]["auc_ci"][0] > 0.5
    low, high = kind["c"]["left_out"]["auc_ci"]
    assert low < 0.5 < high
    few = with_kinds(table, ["a"] * 290 + ["b"] * 10)
    assert difficulty(few, np.arange(SIZE), few.accuracy)["kinds"]["a"]["left_out"] is None


def test_an_audit_judges_its_choice_on_the_other_half(outcomes: OutcomeSet) -> None:
    result = audit(outcomes, 0.02, 0.1)
    halves = result["halves"]
    assert halves["splits"] == 50
    assert sum(halves["chosen"].values()) == pytest.approx(1)
    assert halves["hindsight"] >= 0
    assert result["kind_halves"] is None
    assert "chosen on a half" in audit_table(result)


@pytest.mark.parametrize("differ", [True, False])
def test_an_effort_per_kind_is_held_against_a_deal(outcomes: OutcomeSet, differ: bool) -> None:
    """Where the kinds differ, low is right on the first kind only."""
    rng = np.random.default_rng(1)
    rows = [
        replace(
            row,
            kind=kind,
            correct=int(rng.random() < chance),
            tokens={"low": 10, "high": 100}[row.effort],
        )
        for row in outcomes.outcomes
        if row.effort in ("low", "high")
        for kind in ("ab"[hash_of(row.problem_id) % 2],)
        for chance in (1.0 if row.effort == "high" or kind == "a" or not differ else 0.2,)
    ]
    result = audit(replace(outcomes, outcomes=tuple(rows)), 0.1, 0.1)
    low, high = result["kind_halves"]["accuracy_minus_shuffled_ci"]
    if differ:
        assert low > 0.02
    else:
        assert low <= 0 <= high


def hash_of(text: str) -> int:
    return sum(map(ord, text))
