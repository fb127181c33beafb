import json
from pathlib import Path

import httpx
import pytest
from paths import DATA
from processes import serving

from models.studies.everyday import greetings, proofs
from models.studies.portable import portable
from router.artifact import ArtifactError, load
from router.effort import rank
from router.policy import Policy
from router.router import PORTABLE, Route, Router

TRANSLATIONS: dict[str, list[str]] = json.loads(
    Path(__file__).with_name("translations.json").read_text(encoding="utf-8")
)
LADDER = ("none", "low", "medium", "high")
EASY = "Write a short poem about the sea."
HARD = (
    "Let $S$ be the set of triples $(a,b,c)$ of positive integers with $a^2+b^2=c^2$, "
    "$\\gcd(a,b)=1$ and $c\\le 1000$. Find the remainder when $\\sum_{S} abc$ is divided by 1000."
)
QUESTIONS = (
    "What is the capital of France?",
    "Hi",
    "What is 17 * 23?",
    "Why is the sky blue?",
    HARD,
)
ARTICLE = (
    "The bakery opened in the spring. Its owner had worked for many years on a ship, and he kept "
    "a map of the harbour behind the counter.\nMost guests came early, before the market."
)


@pytest.fixture(scope="module")
def router() -> Router:
    return Router.portable(LADDER, "high")


def figures(route: Route) -> tuple[str, object]:
    return route.effort, route.estimate


def test_it_is_conservative(router: Router) -> None:
    easy, hard = router.route(EASY), router.route(HARD)
    assert LADDER.index(easy.effort) < LADDER.index("high")
    assert hard.effort == "high"
    assert easy.estimate.difficulty < hard.estimate.difficulty
    for prompt in (EASY, HARD, "hi", "What is 2 + 2?"):
        for policy in (Policy(), Policy(max_loss=0.5)):
            assert router.route(prompt, policy=policy).effort != "none"


def test_it_is_marked_uncalibrated_and_sets_no_budget(router: Router) -> None:
    route = router.route(EASY)
    assert (route.calibrated, route.abstained, route.budget) == (False, None, None)
    assert router.state == "uncalibrated"


def test_it_never_chooses_above_the_baseline() -> None:
    assert Router.portable(LADDER, "low").route(HARD).effort == "low"
    assert Router.portable(LADDER, "medium").route(HARD).effort == "medium"
    with pytest.raises(ArtifactError, match="not the baseline max"):
        Router.portable(("low", "max"), "max")


@pytest.mark.parametrize(
    "prompt", ["证明根号二是无理数。", "😀" * 9, None, "<context>\na\n</context>"]
)
def test_prompts_unlike_the_fit_get_the_baseline(router: Router, prompt: object) -> None:
    route = router.route(prompt)
    assert route.effort == "high"
    assert route.abstained


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("role", ["system", "developer"])
def test_instructions_of_any_length_change_nothing(
    router: Router, role: str, question: str
) -> None:
    alone = figures(router.route(question))
    assert alone[1] is not None
    for length in (0, 1, 250, 2_000, 100_000):
        for text in ("x", "You are a helpful assistant. ", "Löse 3 + 4 = 7, $x^2$.\n\n", "你好"):
            instructions = (text * length)[:length]
            messages = [
                {"role": role, "content": instructions},
                {"role": "user", "content": question},
            ]
            assert figures(router.route(messages)) == alone


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    "template",
    [
        "<system-reminder>\n{0}\n</system-reminder>\n{1}",
        "<system-reminder>{0}</system-reminder>{1}",
        "{1}\n\n<system-reminder>\n{0}\n</system-reminder>",
        "<environment_details>\n{0}\n</environment_details>\n<task>\n{1}\n</task>",
        "<context>\n{0}\n</context>\n<user_query>{1}</user_query>",
        '<documents>\n<document index="1">\n{0}\n</document>\n</documents>\n\n{1}',
        "Context: {0}\n\nQuestion: {1}",
        "Use the following context to answer.\n\n{0}\n\nQuestion: {1}\nHelpful Answer:",
        "Context information is below.\n-----\n{0}\n-----\nQuery: {1}\nAnswer: ",
        "## Context\n{0}\n\n## Question\n{1}",
        "[1] {0}\n\n[2] {0}\n\n**User question:** {1}",
        "Q: {0}\nA: It does.\n\nQ: {1}\nA:",
        "Question: {1}\n\nContext:\n{0}",
        "Question: {1}\n\nRetrieved documents:\n{0}",
    ],
)
def test_reminders_and_retrieved_text_change_nothing(
    router: Router, template: str, question: str
) -> None:
    alone = figures(router.route(question))
    for repeats in (1, 8, 200):
        text = template.format("\n\n".join([ARTICLE] * repeats), question)
        assert figures(router.route(text)) == alone
        assert figures(router.route([{"role": "user", "content": text}])) == alone
        parts = [{"type": "text", "text": part} for part in text.split("\n\n")]
        assert router.route([{"role": "user", "content": parts}]).effort in (alone[0], "high")


@pytest.mark.parametrize("question", QUESTIONS[:4])
@pytest.mark.parametrize("before", [ARTICLE, "x", "You are a helpful assistant.", "Be brief."])
@pytest.mark.parametrize("gap", ["\n\n", "\n", " "])
def test_a_text_without_a_label_changes_nothing_or_it_abstains(
    router: Router, question: str, before: str, gap: str
) -> None:
    if gap == " " and (before == "x" or question == "Hi"):
        pytest.skip("the line has no question that begins or ends in it")
    alone = figures(router.route(question))
    for length in (250, 2_000, 20_000):
        repeated = " ".join([before] * (length // len(before)))
        route = router.route(f"{repeated}{gap}{question}")
        assert route.abstained or figures(route) == alone


def test_a_problem_in_paragraphs_is_one_question(router: Router) -> None:
    given, asked = HARD.split(" Find ")
    assert figures(router.route(f"{given}\n\nFind {asked}"))[1] is not None
    unclear = "Tom has 12 apples and buys 30.\n\nHow many apples does he have?"
    assert "where the question begins" in str(router.route(unclear).abstained)


def test_a_follow_up_is_read_with_its_question(router: Router) -> None:
    answered = [{"role": "user", "content": HARD}, {"role": "assistant", "content": "1"}]
    for text in ("Are you sure?", "<system-reminder>\nbrief\n</system-reminder>\nAre you sure?"):
        route = router.route([*answered, {"role": "user", "content": text}])
        assert route.effort == "high"
        assert route.estimate.difficulty > router.route(EASY).estimate.difficulty


def test_a_greeting_ranks_below_a_proof(router: Router) -> None:
    def difficulties(prompts: object) -> list[float]:
        routes = [router.route(prompt) for prompt in prompts]
        assert sum(route.estimate is None for route in routes) <= 0.02 * len(routes)
        return [route.estimate.difficulty for route in routes if route.estimate]

    greeted = difficulties(["Hi", "hello!", "Hey, how's it going?", "Good morning", *greetings()])
    others = [
        "Prove that the square root of 2 is irrational.",
        "Prove Zorn's lemma from the axiom of choice.",
        "Give a rigorous proof that every Hilbert space has an orthonormal basis.",
        "Prove that for every integer n > 1, n^4 + 4^n is composite.",
    ]
    proven = difficulties([*others, *proofs()])
    assert max(greeted) < min(proven)


def test_estimates_of_tokens_are_within_the_fit(router: Router) -> None:
    largest = router.artifact.parameters.top_tokens
    assert largest.max() < 200_000
    hard = "Compute the remainder of $\\binom{2024}{17}^{3} - \\sum_{k=1}^{99} k! $ modulo $97$. "
    for repeats in range(1, 12):
        estimate = router.route(hard * repeats).estimate
        if estimate is not None:
            assert all(t <= top for t, top in zip(estimate.tokens.values(), largest, strict=True))


@pytest.mark.parametrize("language", [name for name in TRANSLATIONS if name != "English"])
def test_no_language_is_below_its_translation(router: Router, language: str) -> None:
    for english, translation in zip(TRANSLATIONS["English"], TRANSLATIONS[language], strict=True):
        ours, theirs = router.route(english), router.route(translation)
        assert ours.estimate is not None
        assert theirs.estimate is None or theirs.estimate.difficulty >= ours.estimate.difficulty
        assert rank(theirs.effort) >= rank(ours.effort)


def test_the_gateway_reports_that_it_is_uncalibrated() -> None:
    with serving("--router", "portable") as gateway:
        ready = httpx.get(f"{gateway.url}/ready").json()
        assert ready["router"] == "uncalibrated"
        body = {"messages": [{"role": "user", "content": EASY}], "max_tokens": 40}
        answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=body)
        assert answer.headers["x-tops-calibrated"] == "false"
        assert answer.headers["x-tops-source"] == "router"
        assert answer.headers["x-tops-effort"] in ("low", "medium")
        assert answer.json()["tops"]["baseline_tokens"] is None


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the shared problem sets are not on this machine")
def test_the_shipped_artifact_is_what_the_script_fits() -> None:
    fitted, shipped = portable(DATA), load(PORTABLE)
    assert fitted.metrics.keys() == shipped.metrics.keys()
    assert json.loads(PORTABLE.read_text())["calibrated"] is False
    refitted = Router(LADDER, "high", fitted)
    for prompt in (EASY, HARD, "What is 2 + 2?", "Write a Python function that sorts a list."):
        ours, theirs = refitted.route(prompt), Router.portable(LADDER, "high").route(prompt)
        assert ours.effort == theirs.effort
        assert ours.estimate.difficulty == pytest.approx(theirs.estimate.difficulty, abs=1e-3)
