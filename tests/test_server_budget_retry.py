"""A request whose budget left no usable answer is retried with a larger one."""

from collections.abc import Generator
from typing import Any

import httpx
import pytest
from processes import Server, serving
from scripted_engine import ScriptedEngine, ask

from server.endpoints.budget_retry import _usable as usable

SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "s",
        "schema": {"type": "object", "properties": {"sum": {"type": "integer"}}},
    },
}


@pytest.fixture(scope="module")
def retrying(engine: ScriptedEngine) -> Generator[Server]:
    url = f"http://127.0.0.1:{engine.port}"
    with serving("--upstream", url, "--retry-budget-factor", "2.5") as server:
        yield server


@pytest.mark.parametrize(
    ("fields", "budgets", "content"),
    [
        ({"max_tokens": 40}, [20, 39], '{"sum": "7"}'),
        ({"max_tokens": 120}, [60], '{"sum": 7}'),
        ({"max_tokens": 60, "response_format": SCHEMA}, [30, 59], '{"sum": "7"}'),
        ({"max_tokens": 80, "response_format": SCHEMA}, [40, 79], '{"sum": 7}'),
        ({"max_tokens": 80}, [40], '{"sum": "7"}'),
        ({"max_tokens": 40, "thinking_token_budget": 20}, [20], ""),
    ],
)
def test_a_request_without_an_answer_is_retried_with_a_larger_budget(
    engine: ScriptedEngine,
    retrying: Server,
    fields: dict[str, Any],
    budgets: list[int],
    content: str,
) -> None:
    engine.bodies.clear()
    answer = ask(retrying, "think", **fields).json()
    assert [body["thinking_token_budget"] for body in engine.bodies] == budgets
    assert answer["choices"][0]["message"]["content"] == content
    assert answer["usage"]["completion_tokens"] == sum(budgets) + 5 * len(budgets)
    assert answer["tops"]["thinking_tokens"] == sum(budgets)
    assert answer["tops"]["budget"] == budgets[-1]
    metrics = httpx.get(f"{retrying.url}/metrics").text
    assert 'tops_budget_violations_total{model="scripted"} 0.0' in metrics


def test_a_retry_keeps_to_max_budget(engine: ScriptedEngine) -> None:
    flags = ("--retry-budget-factor", "2.5", "--max-budget", "31")
    with serving("--upstream", f"http://127.0.0.1:{engine.port}", *flags) as server:
        engine.bodies.clear()
        ask(server, "think", max_tokens=40)
        ask(server, "think", max_tokens=100, response_format=SCHEMA)
    assert [body["thinking_token_budget"] for body in engine.bodies] == [20, 31, 31]


def test_the_first_answer_stands_if_the_retry_fails(retrying: Server) -> None:
    response = ask(retrying, "think_once", max_tokens=40)
    assert response.status_code == 200
    tops = response.json()["tops"]
    assert (tops["budget"], tops["thinking_tokens"], tops["budget_hit"]) == (20, 20, True)
    assert response.headers["x-tops-budget"] == "20"


def test_costly_schemas_are_not_evaluated() -> None:
    def named(schema: object) -> dict[str, Any]:
        return {"type": "json_schema", "json_schema": {"schema": schema}}

    message = {"content": '{"sum": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"}'}
    assert not usable(message, SCHEMA)
    for costly in (
        {"$ref": "http://127.0.0.1:9/never-asked"},
        {"$ref": "#"},
        {"properties": {"sum": {"pattern": "^(a+)+$"}}},
        {"type": 7},
    ):
        assert usable(message, named(costly))
