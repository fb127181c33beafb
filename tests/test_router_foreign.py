"""Prompts that the fit has not seen: the router abstains, and no figure of an estimate is left."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import DATA, ROOT
from scalars import SCALARS
from simulated import CROSS_FITTED_ONCE

from models.domain.stories import stories
from router.artifact import Artifact, load, save
from router.estimate import Abstention, Estimate, estimate, predict
from router.evaluation.replay import decide
from router.explanation import as_json, as_text
from router.features import read_prompt
from router.fitting.fit import fit
from router.fitting.outcomes import Outcome, OutcomeSet, read_outcomes
from router.fitting.table import tabulate
from router.messages import read_messages
from router.policy import Policy
from router.router import Route, Router

DEMO = ROOT / "models" / "demo" / "router.json"
OUTCOMES = DATA / "outcomes"
README = (
    "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens does Kim have now?"
)
STORIES = [story.prompt for story in islice(stories(6, "test"), 200)]
LONG = max(STORIES, key=len)
EVERYDAY = (
    "What is the capital of France?",
    "Write a poem about the sea.",
    "hi",
    "How do I boil an egg?",
    "Translate 'good morning' into Spanish.",
    "Who wrote Hamlet?",
    "Give me three names for a cat.",
    "Why is the sky blue?",
    "What is 2 + 2?",
    "How many days are there in a leap year?",
    "Is 91 a prime number?",
    "Thanks a lot!",
    "What does HTTP 404 mean?",
    "Explain recursion to a child.",
    "Fix this: def f(x) return x",
    "List the planets by size.",
    "Tell me a joke about cards.",
    "How many books are there on the table?",
    "I have 3 apples and eat 1. How many are left?",
    "Summarise the news of 12 May 2024 in 3 lines.",
)
POLICIES = (Policy(), Policy("price", price=0.5), Policy("budget", tokens=20.0))


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def system(text: object, role: str = "system") -> dict[str, object]:
    return {"role": role, "content": text}


def of(artifact: Artifact) -> Router:
    return Router(artifact.efforts, artifact.baseline, artifact)


def has_no_figures(route: Route) -> bool:
    told = json.loads(as_json({}, route))
    figures = [told[name] for name in ("budget", "budgets", "difficulty", "p_correct", "tokens")]
    return (
        isinstance(route.judgement, Abstention)
        and (route.estimate, route.budget) == (None, None)
        and figures == [None] * 5
        and "P(correct)" not in as_text("", route)
    )


@pytest.fixture(scope="module")
def demo() -> Router:
    return Router.load(DEMO)


def test_an_abstention_has_no_figures_by_its_type() -> None:
    assert set(get_args(get_type_hints(Route)["judgement"])) == {Estimate, Abstention, type(None)}
    assert set(get_type_hints(Abstention).values()) == {str}


@pytest.mark.parametrize("prompt", EVERYDAY)
def test_everyday_prompts_are_unlike_the_demo_s(demo: Router, prompt: str) -> None:
    for policy in POLICIES:
        route = demo.route(prompt, policy=policy)
        assert route.effort == "high"
        assert has_no_figures(route)
    fixed = demo.route(prompt, policy=Policy("fixed", effort="low"))
    assert (fixed.effort, fixed.estimate, fixed.budget) == ("low", None, None)


@pytest.mark.parametrize(
    "messages",
    [
        [user(README.replace("Kim", "Tom"))],
        [user(README.replace("pens", "pen"))],
        [user(README.replace("loses", "drops"))],
        [user(README.replace("12", "twelve"))],
        [user(f"So {LONG}")],
        [user(f"{LONG.removesuffix('?')}, please?")],
        [system("You are a helpful assistant."), user(README)],
        [system("You are a pirate."), user(LONG)],
        [system("word " * 5_000), user(README)],
        [system("Ada has 3 eggs."), user(README)],
        [system([{"type": "text", "text": "Answer in JSON."}]), user(README)],
        [system(""), user(README)],
        [system("Be brief.", "developer"), user(README)],
        [system("Be brief.", "System"), user(README)],
        [user(README), system("All prices have doubled.", "context")],
        [{"content": "Be brief."}, user(README)],
        [user(README), assistant("The answer is 35."), system("Be brief."), user(README)],
        [user("Hi"), assistant("Hello!"), user(README)],
    ],
)
def test_what_no_prompt_of_the_fit_has_is_foreign(demo: Router, messages: list[object]) -> None:
    for policy in POLICIES:
        route = demo.route(messages, policy=policy)
        assert route.effort == "high"
        assert "unlike" in (route.abstained or "")
        assert has_no_figures(route)


def test_stories_of_the_demo_are_no_more_foreign_than_before(demo: Router) -> None:
    prompts = [story.prompt for story in islice(stories(991, "test"), 1000)]
    routes = [demo.route(prompt) for prompt in prompts]
    assert sum(route.abstained is not None for route in routes) == 0
    cheap = sum(route.effort != "high" for route in routes)
    assert cheap > 850
    few_shot = [user(prompts[0]), assistant("The answer is 7."), user(prompts[1])]
    assert demo.route(few_shot).abstained is None


KNOWN = sorted({*LONG.replace(".", " ").replace("?", " ").split(), "apples", "Kim", "Ada", "3"})
UNKNOWN = st.text("bcdfgjkqvxz", min_size=3, max_size=9)
ANY = st.text(SCALARS, max_size=9)


@settings(max_examples=200, deadline=None)
@given(
    number=st.integers(0, 199),
    at=st.integers(0, 10_000),
    word=UNKNOWN,
    in_place=st.booleans(),
)
def test_a_story_with_an_unknown_word_has_no_estimate(
    demo: Router, number: int, at: int, word: str, in_place: bool
) -> None:
    words = STORIES[number].split(" ")
    at %= len(words)
    words[at : at + in_place] = [word]
    assert has_no_figures(demo.route(" ".join(words)))


@settings(max_examples=200, deadline=None)
@given(
    texts=st.lists(
        st.lists(st.sampled_from(KNOWN) | UNKNOWN | ANY, max_size=30).map(" ".join),
        min_size=1,
        max_size=4,
    ),
    roles=st.lists(
        st.sampled_from(("user", "system", "developer", "assistant", "context")), min_size=4
    ),
)
def test_a_route_has_an_estimate_or_abstains_to_the_baseline(
    demo: Router, texts: list[str], roles: list[str]
) -> None:
    messages = [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)]
    route = demo.route(messages)
    assert (route.estimate is None) == (route.abstained is not None)
    if route.estimate is None:
        assert route.effort == "high"
        assert has_no_figures(route)


def outcomes_of(prompts: Sequence[object], seed: int = 0) -> OutcomeSet:
    """Outcomes whose tokens follow the words of the prompt, and half of them are right."""
    rng = np.random.default_rng(seed)
    rows = [
        Outcome(str(number), prompt, "m", effort, 0, int(rng.random() < chance), tokens, None)
        for number, prompt in enumerate(prompts)
        for effort, chance, scale in (("low", 0.6, 20), ("high", 0.9, 90))
        for tokens in [scale * (1 + 4 * ("hard" in str(prompt)))]
    ]
    return OutcomeSet(tuple(rows), "m", None, (), 0)


def noisy_prompts(n: int, seed: int = 0) -> list[str]:
    """Prompts of 12 words, of which about a third is in no other prompt."""
    rng = np.random.default_rng(seed)
    common = [f"{a}{b}" for a in "lmnprst" for b in ("an", "er", "ix", "ol")]
    letters = list("bcdfghjk")
    return [
        " ".join(
            [
                *rng.choice(common, 8),
                *("".join(rng.choice(letters, 7)) for _ in range(rng.integers(2, 5))),
                "hard" if number % 2 else "easy",
            ]
        )
        for number in range(n)
    ]


NOISY = noisy_prompts(400)


@pytest.fixture(scope="module")
def noisy() -> Router:
    return of(fit(outcomes_of(NOISY), CROSS_FITTED_ONCE).artifact)


def test_unknown_words_are_no_reason_to_abstain_where_the_fit_met_them(noisy: Router) -> None:
    routes = [noisy.route(prompt) for prompt in noisy_prompts(400, seed=1)]
    assert sum(route.abstained is not None for route in routes) < 0.05 * 400  # 0.03 on average
    assert noisy.route("bcdfghj cdfghjk dfghjkb hard fghjkbc").abstained


@settings(max_examples=100, deadline=None)
@given(number=st.integers(0, 399), places=st.sets(st.integers(0, 8), min_size=1, max_size=9))
def test_unknown_words_never_lower_a_budget(noisy: Router, number: int, places: set[int]) -> None:
    words = NOISY[number].split()
    known = noisy.route(" ".join(words)).estimate
    for place in places:
        words[place - 1] = "z" * len(words[place - 1])
    unknown = noisy.route(" ".join(words))
    if known is not None and unknown.estimate is not None:
        for effort, budget in known.budget.items():
            assert unknown.estimate.budget[effort] >= budget


def test_no_budget_is_above_the_one_of_an_unknown_word(demo: Router) -> None:
    assert demo.artifact is not None
    top = np.array([0.0, 4.0, 5.0, 6.0])
    parameters = replace(demo.artifact.parameters, top_budget=top)
    lowered = of(replace(demo.artifact, parameters=parameters)).route(README).estimate
    assert lowered is not None
    assert list(lowered.budget.values()) == [0, 4, 5, 6]


def test_an_assistant_s_turns_that_the_fit_has_not_seen_widen_the_budget() -> None:
    artifact = fit(outcomes_of(STORIES), CROSS_FITTED_ONCE).artifact
    parameters = replace(artifact.parameters, top_budget=np.array([1_000.0, 2_000.0]))

    def budgets(messages: object) -> list[list[float]]:
        read = read_prompt(read_messages(messages))
        offline = predict(parameters, read.x[np.newaxis], [read.words], [None]).budget[0]
        online = estimate(parameters, artifact.columns, parameters.project(read)).budget
        return [offline.tolist(), list(online.values())]

    for prompt in STORIES[:5]:
        history = [user(prompt), {"role": "assistant", "content": "It is 3."}, user(prompt)]
        assert budgets(history) == [[1_000, 2_000]] * 2
        assert max(map(max, budgets([user(prompt)]))) < 1_000


def test_where_every_effort_is_hopeless_the_answer_is_the_baseline() -> None:
    rng = np.random.default_rng(0)
    rows = [
        Outcome(s.problem_id, s.prompt, "m", effort, 0, int(rng.random() < p), tokens, None)
        for s in islice(stories(2), 600)
        for effort, chance, tokens in (("low", 0.9, 10), ("high", 0.95, 100))
        for p in [0.01 if "eggs" in s.prompt.partition(".")[0] else chance]
    ]
    router = of(fit(OutcomeSet(tuple(rows), "m", None, (), 0), CROSS_FITTED_ONCE).artifact)
    hopeless = "Ada has 5 eggs. Ada finds 3 eggs. How many eggs does Ada have now?"
    for policy in (*POLICIES, Policy("price", price=100.0)):
        route = router.route(hopeless, policy=policy)
        assert (route.effort, route.abstained) == ("high", "every effort is likely to fail")
        assert has_no_figures(route)
        assert router.route(hopeless.replace("eggs", "pens"), policy=policy).abstained is None
    assert router.route(hopeless, ("low",)).effort == "low"


def test_a_fit_with_system_messages_knows_them() -> None:
    told = "You count things. Be brief."
    prompts = [[system(told), user(s.prompt)] for s in islice(stories(4), 200)]
    router = of(fit(outcomes_of(prompts), CROSS_FITTED_ONCE).artifact)
    assert router.route(prompts[0]).abstained is None
    pirate = router.route([system("You are a pirate."), prompts[0][1]])
    assert "words" in (pirate.abstained or "")
    bare = router.route([prompts[0][1]])
    assert "no system message" in (bare.abstained or "")
    mixed = of(fit(outcomes_of([*prompts, *([p[1]] for p in prompts)]), CROSS_FITTED_ONCE).artifact)
    assert mixed.route(prompts[0]).abstained is None
    assert mixed.route([prompts[0][1]]).abstained is None


def word_lists(n: int, seed: int) -> list[str]:
    """Prompts of words that are in no other prompt."""
    rng, letters = np.random.default_rng(seed), list("bcdfghjk")
    return [
        "Sort these words: " + ", ".join("".join(rng.choice(letters, 7)) for _ in range(12))
        for _ in range(n)
    ]


def test_unknown_words_count_by_how_many_like_prompts_have() -> None:
    """Lists of unknown words are in the fit; a story with fewer unknown words is foreign."""
    known = [story.prompt for story in islice(stories(4), 200)]
    router = of(fit(outcomes_of([*known, *word_lists(100, 0)]), CROSS_FITTED_ONCE).artifact)
    foreign = [
        f"{story.prompt} Meanwhile fortuitous marsupials juggled xylophones."
        for story in islice(stories(4), 200, 260)
    ]
    causes = [router.route(prompt).abstained or "" for prompt in foreign]
    lists = [router.route(prompt).abstained is None for prompt in word_lists(60, 1)]
    assert sum("like prompts have" in cause for cause in causes) >= 50
    assert sum(lists) >= 57


def test_a_replay_abstains_where_the_router_does() -> None:
    prompts = [*noisy_prompts(200), *word_lists(100, 0)]
    artifact = fit(outcomes_of(prompts), CROSS_FITTED_ONCE).artifact
    judged = [*noisy_prompts(60, 1), *word_lists(60, 1), *EVERYDAY]
    table = tabulate(outcomes_of(judged).outcomes)
    trusted = decide(artifact, table, np.arange(len(judged)), Policy()).trusted
    router = of(artifact)
    assert trusted.tolist() == [router.route(prompt).abstained is None for prompt in judged]
    assert 60 < trusted.sum() <= 120


def test_an_artifact_of_an_older_version_loads_and_abstains_alike(tmp_path: Path) -> None:
    document = json.loads(DEMO.read_text())
    del document["hopeless"], document["parameters"]["top_budget"]
    del document["parameters"]["system_share"]
    document.pop("known_words", None)
    document["parameters"]["known_share"] = 0.9
    older = tmp_path / "router.json"
    older.write_text(json.dumps(document))
    router, now = Router.load(older), Router.load(DEMO)
    assert router.route(README) == now.route(README)
    assert has_no_figures(router.route([system("Ada has eggs."), user(README)]))
    assert has_no_figures(router.route(README.replace("Kim", "Tom")))
    with_unknown = router.route(f"So {LONG}")
    assert with_unknown.estimate is not None
    assert with_unknown.budget is None
    saved = tmp_path / "again.json"
    save(load(older), saved)
    assert load(saved).parameters.top_budget.tolist() == [np.inf] * 4


@pytest.mark.skipif(not OUTCOMES.is_dir(), reason="the shared outcomes are not on this machine")
def test_a_fit_on_short_questions_abstains_on_olympiad_problems() -> None:
    questions = OUTCOMES / "epoch_simpleqa.outcomes.csv.gz"
    olympiad = OUTCOMES / "epoch_otis_aime.outcomes.csv.gz"
    model = "anthropic/claude-sonnet-4-5-20250929"
    router = of(fit(read_outcomes([questions], model), CROSS_FITTED_ONCE).artifact)
    problems = {str(o.messages) for o in read_outcomes([olympiad], model).outcomes}
    assert len(problems) == 45
    for problem in problems:
        assert has_no_figures(router.route(problem))
