import json
import subprocess
import sys
import time
from dataclasses import replace
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scalars import SCALARS
from simulated import simulated

from models.domain.stories import stories
from router.estimate import Abstention
from router.fitting.fit import fit
from router.policy import ALWAYS_BASELINE, OperatingPoint, Policy
from router.router import Route, Router

STORY = next(stories(1)).prompt
EASY = "Ada has 5 eggs. Ada finds 3 eggs. How many eggs does Ada have now?"


@pytest.fixture(scope="module")
def router() -> Router:
    artifact = fit(simulated(1000)).artifact
    return Router(artifact.efforts, artifact.baseline, artifact)


@pytest.fixture(scope="module")
def routers(router: Router) -> tuple[Router, Router]:
    return router, Router.without_artifact(("low", "high"), "high")


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_an_easy_story_gets_less_effort_than_a_hard_one(router: Router) -> None:
    policy = Policy(max_loss=0.05)
    easy = router.route(user(EASY), policy=policy)
    assert easy.effort in ("low", "medium")
    assert easy.abstained is None
    assert easy.budget == easy.estimate.budget[easy.effort] > 0
    hard = max(
        (story for story, _ in zip(stories(5), range(50), strict=False)),
        key=lambda story: story.difficulty,
    )
    route = router.route(user(hard.prompt), policy=policy)
    assert route.effort == "high"
    assert route.estimate.difficulty > easy.estimate.difficulty


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (
            user("Write a Python function that reverses a linked list.\n```python\n```"),
            "unlike those of the fit (by its words of programming)",
        ),
        (user("证明任意三角形的内角和等于一百八十度。并解释为什么。"), "unlike"),
        (user("😀" * 50), "no words"),
        (user(""), "no words"),
        ([], "no words"),
        (None, "not a list"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "image_url"),
    ],
)
def test_what_it_cannot_estimate_gets_the_baseline(
    router: Router, messages: object, reason: str
) -> None:
    route = router.route(messages)
    assert route.effort == "high"
    assert reason in route.abstained
    assert route.budget is None


def test_an_error_in_the_estimate_gets_the_baseline(router: Router) -> None:
    parameters = replace(
        router.artifact.parameters, p_bias=np.full_like(router.artifact.parameters.p_bias, np.inf)
    )
    broken = replace(router, artifact=replace(router.artifact, parameters=parameters))
    route = broken.route(user(EASY))
    assert route.effort == "high"
    assert "estimate failed" in route.abstained


def test_without_an_artifact_it_always_abstains() -> None:
    router = Router.without_artifact(("none", "low", "high"), "low")
    assert router.route(user(EASY)) == Route(
        "low",
        Abstention("no router artifact"),
        "no router artifact, so the request gets the baseline low",
    )
    assert router.route(user(EASY), ("high",)).effort == "high"
    assert Router.without_artifact(("low",), "low", "damaged").route("x").abstained == "damaged"
    with pytest.raises(ValueError, match="baseline"):
        Router.without_artifact(("low",), "high")


def test_only_allowed_efforts_are_chosen(router: Router) -> None:
    policy = Policy(max_loss=0.2)
    for allowed in (("none",), ("low", "medium"), ("none", "high"), ("medium", "high")):
        for messages in (user(EASY), user(STORY), user("hello"), None):
            assert router.route(messages, allowed, policy).effort in allowed
    assert router.route(user(EASY), ("xhigh",)).effort == "xhigh"
    assert "for any allowed effort" in router.route(user(EASY), ("xhigh",)).abstained


def operating_at(router: Router, point: OperatingPoint) -> Router:
    """The router with one certified operating point."""
    prices = replace(router.artifact.prices, certified=((0.0, point),))
    return replace(router, artifact=replace(router.artifact, prices=prices))


def test_without_a_certified_saving_the_router_sends_no_budget(router: Router) -> None:
    uncertified = operating_at(router, ALWAYS_BASELINE).route(user(EASY))
    assert (uncertified.effort, uncertified.budget, uncertified.abstained) == ("high", None, None)
    assert not uncertified.estimate.budget
    assert uncertified.estimate.p_correct == router.route(user(EASY)).estimate.p_correct
    loaded = operating_at(router, ALWAYS_BASELINE).route(user(EASY), policy=Policy(surcharge=9.0))
    assert (loaded.effort, loaded.budget) == ("high", None)
    bounded = operating_at(router, OperatingPoint(margin=float("inf"))).route(user(EASY))
    assert (bounded.effort, bounded.budget) == ("high", bounded.estimate.budget["high"])
    assert "no saving but by budgets is certified" in bounded.reason


def test_a_margin_holds_for_the_effort_that_stands_in_for_the_baseline(router: Router) -> None:
    careful = operating_at(router, OperatingPoint(0.0, 0.9, dearer=False))
    for allowed, effort in ((None, "high"), (("none", "low", "medium"), "medium")):
        route = careful.route(user(EASY), allowed)
        assert route.effort == effort
        assert "90.0 points in favour of the baseline" in route.reason
    unknown = careful.route(user(EASY), ("low", "xhigh"))
    assert unknown.effort == "xhigh"
    assert "no estimate for xhigh, which stands in for the baseline" in unknown.reason


def test_fixed_and_price_modes(router: Router) -> None:
    fixed = router.route(user(EASY), policy=Policy("fixed", effort="medium"))
    assert (fixed.effort, fixed.abstained) == ("medium", None)
    assert fixed.budget == fixed.estimate.budget["medium"]
    assert router.route(None, policy=Policy("fixed", effort="low")).effort == "low"
    assert router.route(user(EASY), ("high",), Policy("fixed", effort="low")).effort == "high"
    assert router.route(user(EASY), policy=Policy("price", price=1e9)).effort == "none"
    costly = router.route(user(STORY), policy=Policy("price", price=0.0))
    assert costly.estimate.p_correct[costly.effort] == max(costly.estimate.p_correct.values())


@pytest.mark.parametrize("reply", ["yes", "go on", "好的", "thanks, do it"])
def test_a_yes_after_a_hard_story_is_not_routed_low(router: Router, reply: str) -> None:
    hard = next(story for story in stories(8) if story.difficulty == 10).prompt
    alone = router.route(user(hard)).effort
    messages = [*user(hard), {"role": "assistant", "content": "Shall I?"}, *user(reply)]
    efforts = router.efforts
    assert efforts.index(router.route(messages).effort) >= efforts.index(alone)


TEXTS = st.one_of(
    st.text(SCALARS, max_size=200),
    st.text(st.characters(codec=None, categories=("Cc", "Cs", "So", "Nd", "Lo")), max_size=50),
    st.sampled_from(["", "\x00", "\ud800", "😀" * 99, "9" * 5000, "1,.", STORY, "\\frac" * 99]),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "x"]), inner, max_size=4
        ),
    ),
    max_leaves=12,
)
PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "tool_result", 5])},
    optional={"text": TEXTS | JSON, "content": JSON},
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "user", "assistant", "tool", None, 3]),
            "content": TEXTS | st.lists(TEXTS | PARTS, max_size=3) | JSON,
        }
    ),
    max_size=5,
)


@settings(max_examples=300, deadline=None)
@given(messages=st.one_of(JSON, TEXTS, MESSAGES), price=st.floats(0, 1e6))
def test_any_value_is_routed(routers: tuple[Router, ...], messages: object, price: float) -> None:
    for router in routers:
        for policy in (Policy(), Policy("price", price=price), Policy("fixed", effort="low")):
            route = router.route(messages, None, policy)
            assert route.effort in router.efforts
            assert route.reason
            if route.abstained is not None and policy.mode != "fixed":
                assert route.effort == router.baseline


@pytest.mark.parametrize("piece", ["a", "😀", "7 ", "\x00", "证", "Tom has 3. ", "\ud800"])
def test_ten_megabytes_are_routed(router: Router, piece: str) -> None:
    text = piece * (10_000_000 // len(piece.encode(errors="replace")))
    start = time.process_time()
    assert router.route(user(text)).effort == "high"
    assert time.process_time() - start < 2


def test_many_messages_are_routed(router: Router) -> None:
    assert router.route(user("yes") * 20_000).effort in router.efforts


def test_routing_is_quick(router: Router) -> None:
    """Limits that catch regressions and allow for a busy machine."""
    for size, limit in ((2_300, 0.002), (130_000, 0.02)):
        messages = user((STORY + " ") * (size // len(STORY)))
        times = []
        for _ in range(50):
            start = time.process_time()
            router.route(messages)
            times.append(time.process_time() - start)
        assert median(times) < limit


def test_the_run_time_loads_numpy_only() -> None:
    script = (
        "import json, sys; before = {*sys.modules};"
        "import router, router.router, router.conversation;"
        "print(json.dumps(sorted({*sys.modules} - before)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    modules = json.loads(result.stdout)
    packages = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    assert packages == {"numpy", "router"}
    assert not [
        name for name in modules if name.startswith(("router.fitting", "router.evaluation"))
    ]
