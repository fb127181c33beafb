"""The effort canary in the gateway: on scripted engines, the embedded one and llama.cpp."""

from collections import Counter
from collections.abc import Generator
from typing import Any

import httpx
import pytest
from effort_engine import EffortEngine, effort_engine
from engines import demo_gguf
from polling import until
from processes import Server, serving
from scripted_engine import ask

STORY = "Ada has 34 apples. Ada buys 27 more apples. How many apples does Ada have now?"
WITHHELD = "efforts that do not do what their names say are not offered to the router"


def efforts(server: Server) -> dict[str, Any]:
    """What `/ready` says of the efforts, once they are measured."""

    found: list[dict[str, Any]] = []

    def measured() -> bool:
        levels = httpx.get(f"{server.url}/ready").json()["engines"][0]["efforts"]
        if levels:
            found.append(levels)
        return bool(levels)

    until(measured)
    return found[0]


def verdicts(server: Server) -> dict[str, str]:
    return {effort: level["verdict"] for effort, level in efforts(server).items()}


def route(server: Server, **fields: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": STORY}], **fields}
    return httpx.post(f"{server.url}/v1/route", json=body).json()


def upstream(port: int, *flags: str) -> list[str]:
    return ["--upstream", f"http://127.0.0.1:{port}", "--effort-canary", *flags]


@pytest.fixture(scope="module")
def aliased() -> Generator[tuple[Server, EffortEngine]]:
    """A gateway in front of an engine at which `high` does the same as `medium`."""
    with (
        effort_engine(none=0, low=20, medium=80, high=80) as engine,
        serving(*upstream(engine.port)) as server,
    ):
        assert verdicts(server)["high"] == "alias"
        yield server, engine


def test_an_alias_is_named_and_not_given_to_a_request_without_an_effort(
    aliased: tuple[Server, EffortEngine],
) -> None:
    server, engine = aliased
    assert server.logged(WITHHELD)
    assert server.logged("high does the same as medium")
    decided = route(server)
    assert (decided["effort"], decided["baseline_effort"]) == ("medium", "medium")
    engine.efforts.clear()
    assert ask(server, STORY).headers["x-tops-effort"] == "medium"
    assert engine.efforts == ["medium"]


def test_a_client_still_gets_the_effort_that_it_asks_for_and_is_told_what_it_does(
    aliased: tuple[Server, EffortEngine],
) -> None:
    server, engine = aliased
    engine.efforts.clear()
    answer = ask(server, STORY, reasoning_effort="high")
    assert answer.headers["x-tops-effort"] == "high"
    assert engine.efforts == ["high"]
    reason = route(server, reasoning_effort="high")["reason"]
    assert reason == "the request asks for high; by measurement, high does the same as medium"


def test_inverted_and_useless_knobs_are_named() -> None:
    with (
        effort_engine(none=500, low=20, medium=80, high=300) as inverted,
        effort_engine(none=90, low=90, medium=90, high=90) as ignoring,
        serving(*upstream(inverted.port)) as first,
        serving(*upstream(ignoring.port)) as second,
    ):
        assert efforts(first)["none"]["detail"] == "none thinks more than low"
        assert {effort: level["stand_in"] for effort, level in efforts(second).items()} == {
            "none": "low",
            "low": None,
            "medium": "low",
            "high": "low",
        }
        assert route(second)["effort"] == "low"


def test_without_the_setting_or_with_budgets_for_efforts_nothing_is_asked() -> None:
    with effort_engine(none=0, low=20, medium=80, high=80) as engine:
        for flags in (["--no-effort-canary"], ["--efforts-are-budgets"]):
            with serving(*upstream(engine.port, *flags)) as server:
                assert ask(server, STORY).status_code == 200
                assert httpx.get(f"{server.url}/ready").json()["engines"][0]["efforts"] is None
        assert set(engine.efforts) == {"high"}  # of the budget canary, and ours


def test_one_of_several_workers_measures_and_all_of_them_know() -> None:
    with effort_engine(none=0, low=20, medium=80, high=80) as engine:
        with serving(*upstream(engine.port, "--workers", "2")) as server:
            until(lambda: sum("not offered to the router" in line for line in server.lines) == 2)
            routed = {route(server)["effort"] for _ in range(20)}
        assert routed == {"medium"}
        questions = Counter(body["messages"][0]["content"] for body in engine.bodies)
        assert sorted(questions.values())[:8] == [4] * 8  # and the budget canary's


def test_the_embedded_engine_s_efforts_all_work() -> None:
    with serving("--effort-canary") as server:
        assert set(verdicts(server).values()) == {"works"}


@pytest.mark.slow
def test_llama_cpp_s_efforts_on_the_demo_all_work() -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed (extra llamacpp)")
    with serving("--model", str(demo_gguf()), "--effort-canary") as server:
        measured = efforts(server)
        assert {level["verdict"] for level in measured.values()} == {"works"}
        assert measured["none"]["thinking_tokens"] == 0
