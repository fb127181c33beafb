"""What clients see of a decision: response headers and the explanation of `POST /v1/route`."""

from test_server_decision import ABSTAINING, ESTIMATE, decide, user

from router.features import FEATURE_NAMES
from server.api.chat import parse
from server.decide.conversations import Thread
from server.decide.explain import explain
from server.decide.headers import decision_headers


def test_the_headers_of_a_routed_request() -> None:
    assert decision_headers(decide()) == [
        (b"x-tops-effort", b"medium"),
        (b"x-tops-source", b"router"),
        (b"x-tops-budget", b"150"),
        (b"x-tops-budget-source", b"router"),
        (b"x-tops-arm", b"treated"),
        (b"x-tops-difficulty", b"0.400"),
        (b"x-tops-p-correct", b"0.800"),
        (b"x-tops-reason", b"scripted"),
    ]


def test_the_headers_of_an_abstention_have_its_reason_in_latin_1() -> None:
    decision = decide(router=ABSTAINING)._replace(abstained="fitted on 模型", calibrated=False)
    assert decision_headers(decision) == [
        (b"x-tops-effort", b"high"),
        (b"x-tops-source", b"fallback"),
        (b"x-tops-budget-source", b"none"),
        (b"x-tops-arm", b"treated"),
        (b"x-tops-abstained", b"fitted on ??"),
        (b"x-tops-calibrated", b"false"),
        (b"x-tops-reason", b"no router artifact, so the request gets the baseline high"),
    ]


def test_an_effort_without_an_estimate_has_a_difficulty_and_no_p_correct() -> None:
    names = [name for name, _ in decision_headers(decide()._replace(effort="max"))]
    assert b"x-tops-difficulty" in names
    assert b"x-tops-p-correct" not in names


def test_the_explanation_has_the_decision_the_estimate_and_the_features() -> None:
    request = parse({"messages": [user("How many?")]}, {})
    explanation = explain(
        request,
        decide({"messages": [user("How many?")]}),
        Thread("0" * 32, "x-session-id"),
        ["key:k"],
    )
    features = explanation.pop("features")
    assert explanation == {
        "effort": "medium",
        "source": "router",
        "conversation": "x-session-id",
        "arm": "treated",
        "reason": "scripted",
        "kind": None,
        "kind_sources": ["key:k"],
        "abstained": None,
        "budget": 150,
        "budget_source": "router",
        "composite": None,
        "baseline_effort": "high",
        "difficulty": 0.4,
        "p_correct": ESTIMATE.p_correct,
        "tokens": ESTIMATE.tokens,
        "calibrated": True,
        "load": 0.0,
    }
    assert tuple(features) == FEATURE_NAMES
    assert features["ends_with_question"] == 1.0


def test_the_explanation_of_an_abstention_has_no_estimate() -> None:
    explanation = explain(
        parse({"messages": [user()]}, {}), decide(router=ABSTAINING), Thread("0" * 32)
    )
    assert explanation["abstained"] == "no router artifact"
    assert [explanation[name] for name in ("difficulty", "p_correct", "tokens")] == [None] * 3
