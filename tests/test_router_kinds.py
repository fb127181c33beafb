import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from simulated import LADDER, simulated

from router.artifact import Artifact, ArtifactError, load, save
from router.estimate import estimate, predict
from router.features import read_prompt
from router.fitting.fit import FitSettings, fit
from router.fitting.kinds import MIN_PROMPTS, KnownKinds, logit_effects, token_effects
from router.fitting.outcomes import Outcome, OutcomeSet
from router.kind import SYSTEM_CHARACTERS, system_kind, system_prompt
from router.messages import read_messages
from router.policy import OperatingPoint, Policy, choose_rows_at
from router.router import Router

PROMPT = "Kim has 12 pens. Kim buys 30 more pens. How many pens does Kim have now?"
AT_PRICE = Policy("price", price=0.5)
SPENT = {"none": 1, "low": 20, "medium": 80, "high": 300}


def of_two_kinds(problems: int) -> OutcomeSet:
    """Prompts that say nothing: at effort none, half of the kinds are right and half are wrong."""
    dataset = simulated(problems, flat=True)

    def row(outcome: Outcome, number: int) -> Outcome:
        is_easy = number // len(LADDER) % 2 == 0
        correct = 1 if outcome.effort == "high" or is_easy else int(number % 37 == 0)
        tokens = SPENT[outcome.effort] * (1 if is_easy else 4)
        return replace(
            outcome, correct=correct, tokens=tokens, kind="key:easy" if is_easy else "hard"
        )

    rows = tuple(row(outcome, number) for number, outcome in enumerate(dataset.outcomes))
    return replace(dataset, outcomes=rows)


@pytest.fixture(scope="module")
def fitted() -> Artifact:
    return fit(of_two_kinds(120), FitSettings(baseline="high")).artifact


def test_equal_prompts_of_different_kinds_get_different_efforts(fitted: Artifact) -> None:
    router = Router(fitted.efforts, fitted.baseline, fitted)
    easy, hard = (router.route(PROMPT, None, AT_PRICE, kind) for kind in ("key:easy", "hard"))
    assert (easy.effort, hard.effort) == ("none", "high")
    assert "kind key:easy" in easy.reason
    assert easy.estimate is not None
    assert hard.estimate is not None
    assert easy.estimate.tokens["high"] < 0.4 * hard.estimate.tokens["high"]
    assert easy.estimate.budget["high"] < hard.estimate.budget["high"]


def test_an_unknown_kind_gets_the_mean_of_all_and_the_largest_budget(fitted: Artifact) -> None:
    router = Router(fitted.efforts, fitted.baseline, fitted)
    known = [router.route(PROMPT, None, AT_PRICE, kind).estimate for kind in ("key:easy", "hard")]
    for kind in (None, "key:new", "", "hard\n"):
        route = router.route(PROMPT, None, AT_PRICE, kind)
        assert "unknown kind" in route.reason
        assert route.estimate is not None
        p = route.estimate.p_correct["none"]
        assert known[1] is not None
        assert known[0] is not None
        assert known[1].p_correct["none"] + 0.2 < p < known[0].p_correct["none"] - 0.2
        assert route.estimate.budget["high"] >= max(e.budget["high"] for e in known if e)


def test_an_unknown_kind_leaves_the_baseline_only_for_more_than_kinds_differ(
    fitted: Artifact,
) -> None:
    kinds = fitted.parameters.kinds
    assert 0.2 < kinds.guard <= 1
    router = Router(fitted.efforts, fitted.baseline, fitted)
    dear = Policy("price", price=1.0)
    assert router.route(PROMPT, None, dear, "key:new").effort == "high"
    unguarded = replace(fitted.parameters, kinds=replace(kinds, guard=0.0))
    bold = replace(router, artifact=replace(fitted, parameters=unguarded))
    assert bold.route(PROMPT, None, dear, "key:new").effort != "high"
    assert f"{100 * kinds.guard:.1f} points" in router.route(PROMPT, None, dear, "key:new").reason
    assert kinds.guards(["hard", None, "key:easy", "new"]).tolist() == [
        0,
        kinds.guard,
        0,
        kinds.guard,
    ]
    p, tokens = np.array([[0.5, 0.4]] * 2), np.zeros((2, 2))
    chosen = choose_rows_at(p, tokens, OperatingPoint(), 1, np.array([0.0, 0.2]))
    assert chosen.tolist() == [0, 1]


def test_the_held_out_estimates_know_the_kind(fitted: Artifact) -> None:
    """Without kinds the prompts say nothing, and the Brier score is that of the mean."""
    dataset = of_two_kinds(120)
    without = tuple(replace(outcome, kind=None) for outcome in dataset.outcomes)
    blind = fit(replace(dataset, outcomes=without), FitSettings(baseline="high")).artifact
    brier, blind_brier = (float(str(a.metrics["brier"])) for a in (fitted, blind))
    assert brier < 0.2 * blind_brier
    tokens, blind_tokens = (
        min(point.tokens for point in artifact.prices.frontier if point.accuracy > 0.98)
        for artifact in (fitted, blind)
    )
    assert tokens < 0.9 * blind_tokens
    assert blind.parameters.kinds.by_kind == {}


def test_rows_without_a_kind_are_a_kind_beside_others() -> None:
    dataset = of_two_kinds(80)
    rows = tuple(replace(o, kind=None) if o.kind == "hard" else o for o in dataset.outcomes)
    artifact = fit(replace(dataset, outcomes=rows), FitSettings(baseline="high")).artifact
    router = Router(artifact.efforts, artifact.baseline, artifact)
    assert [router.route(PROMPT, None, AT_PRICE, kind).effort for kind in ("key:easy", None)] == [
        "none",
        "high",
    ]
    assert "no kind" in router.route(PROMPT, None, AT_PRICE, "key:new").reason


def test_one_prompt_and_many_get_the_same_estimate_of_their_kind(fitted: Artifact) -> None:
    prompt, parameters = read_prompt(read_messages(PROMPT)), fitted.parameters
    kinds = ("hard", "key:easy", None, "new")
    many = predict(parameters, np.stack([prompt.x] * 4), [prompt.words] * 4, kinds)
    for row, kind in enumerate(kinds):
        single = estimate(parameters, fitted.efforts, parameters.project(prompt), kind)
        assert list(single.p_correct.values()) == pytest.approx(many.p_correct[row].tolist())
        assert list(single.tokens.values()) == pytest.approx(many.tokens[row].tolist())
        assert list(single.budget.values()) == many.budget[row].tolist()


def test_a_prompt_with_rows_of_several_kinds_counts_once() -> None:
    dataset = of_two_kinds(60)
    again = tuple(
        replace(outcome, problem_id=outcome.problem_id + "'", kind="third")
        for outcome in dataset.outcomes
    )
    result = fit(replace(dataset, outcomes=dataset.outcomes + again))
    assert any("60 prompts have rows of several kinds" in warning for warning in result.warnings)
    assert result.artifact.provenance["problems"] == 60


def test_kinds_are_shrunk_by_how_little_evidence_they_have() -> None:
    """Two kinds are right 9 times of 10 where the others are right 5 times of 10."""
    sizes = [200, 200, 200, 200, 6]
    rows = np.repeat(np.arange(5), sizes)
    counts = np.ones((len(rows), 1))
    successes = np.array(
        [[float(i % 10 < (9 if kind in (0, 4) else 5))] for i, kind in enumerate(rows)]
    )
    effects = logit_effects(rows, 5, np.zeros((len(rows), 1)), successes, counts).intercepts[:, 0]
    assert effects[0] == pytest.approx(np.log(9), abs=0.3)
    assert 0 < effects[4] < 0.8 * effects[0]
    assert np.abs(effects[1:4]).max() < 0.1
    assert effects[5] == 0  # unknown
    tokens = np.where(rows[:, np.newaxis] == 3, 1000.0, 100.0)
    shifts = token_effects(rows, 5, np.full(tokens.shape, np.log1p(100.0)), tokens)[:, 0]
    assert shifts[3] == pytest.approx(np.log1p(1000) - np.log1p(100), abs=0.01)
    assert np.abs(shifts[[0, 1, 2, 4, 5]]).max() < 0.01


def test_kinds_without_effect_add_nothing() -> None:
    rng = np.random.default_rng(0)
    rows = np.arange(2000) % 20
    successes = (rng.random((2000, 2)) < 0.5).astype(float)
    effects = logit_effects(rows, 20, np.zeros((2000, 2)), successes, np.ones((2000, 2)))
    assert np.abs(effects.intercepts).max() < 0.25
    assert effects.own < 0.06


def test_few_prompts_make_no_kind() -> None:
    kinds = ["a"] * MIN_PROMPTS + ["b"] * (MIN_PROMPTS - 1)
    assert KnownKinds.of(kinds).names == ("a",)
    assert KnownKinds.of([None] * 50).names == ()
    assert KnownKinds.of([*kinds, *[None] * 50]).rows(["a", "b", None, "c"]).tolist() == [
        0,
        1,
        1,
        1,
    ]
    assert KnownKinds.of(kinds).rows(["a", "b", None]).tolist() == [0, 1, 1]


def test_kinds_survive_the_file_and_old_files_have_none(fitted: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "router.json"
    save(fitted, path)
    loaded = load(path).parameters.kinds
    assert loaded.guard == fitted.parameters.kinds.guard
    for kind, offsets in fitted.parameters.kinds.by_kind.items():
        assert loaded.by_kind[kind] == pytest.approx(offsets, rel=1e-6)
    document = json.loads(path.read_text())
    old = {name: value for name, value in document.items() if name not in ("kinds", "kind_guard")}
    path.write_text(json.dumps(old))
    assert load(path).parameters.kinds.by_kind == {}
    eight = [0.0] * 8
    wrong: list[object] = [[["a", [0.0]]], [[1, eight]], [["a", eight]] * 2, [["a"]], {"a": 1}, 7]
    for kinds in wrong:
        path.write_text(json.dumps({**document, "kinds": kinds}))
        with pytest.raises(ArtifactError, match="damaged"):
            load(path)


DATED = "You are a helpful assistant.\nToday is 2026-11-28, 09:15."


@pytest.mark.parametrize(
    "text",
    [
        "You are a helpful assistant. Today is 2026-12-01, 17:40.",
        "  YOU are a helpful\tassistant.\r\n\r\nToday is 1999-01-01, 00:00.\n",
    ],
)
def test_dates_case_and_spaces_leave_a_system_prompt_of_the_same_kind(text: str) -> None:
    assert system_kind(text) == system_kind(DATED)


def test_other_system_prompts_are_of_other_kinds() -> None:
    texts = [DATED, "You are a helpful assistant.", "You are a pirate.", "é", "\ud800"]
    kinds = [system_kind(text) for text in texts]
    assert len(set(kinds)) == len(texts)
    assert all(kind is not None and len(kind) == len("system:") + 32 for kind in kinds)
    assert system_kind("e\u0301") == system_kind("é")
    assert system_kind("") is system_kind(" \n") is None
    long = "x " * SYSTEM_CHARACTERS
    assert system_kind(long) == system_kind(long[:SYSTEM_CHARACTERS])


def test_the_system_prompt_is_what_instructs_before_anybody_speaks() -> None:
    def prompt(*roles: str) -> str:
        return system_prompt(
            read_messages(
                [{"role": role, "content": f"{role} {i}"} for i, role in enumerate(roles)]
            )
        )

    assert prompt("system", "developer", "user", "system") == "system 0\ndeveloper 1"
    assert prompt("user", "system") == ""
    assert prompt("assistant", "system", "user") == ""
    assert prompt() == ""
