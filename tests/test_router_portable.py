import json
from pathlib import Path

import httpx
import pytest
from processes import serving

from models.studies.portable import portable
from router.artifact import ArtifactError, load
from router.policy import Policy
from router.router import PORTABLE, Router

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
LADDER = ("none", "low", "medium", "high")
EASY = "Write a short poem about the sea."
HARD = (
    "Let $S$ be the set of triples $(a,b,c)$ of positive integers with $a^2+b^2=c^2$, "
    "$\\gcd(a,b)=1$ and $c\\le 1000$. Find the remainder when $\\sum_{S} abc$ is divided by 1000."
)


@pytest.fixture(scope="module")
def router() -> Router:
    return Router.portable(LADDER, "high")


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


@pytest.mark.parametrize("prompt", ["证明根号二是无理数。", "😀" * 9, None])
def test_prompts_unlike_the_fit_get_the_baseline(router: Router, prompt: object) -> None:
    route = router.route(prompt)
    assert route.effort == "high"
    assert route.abstained


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
