"""Budgets of sessions and feedback on them, at a gateway of two workers with a ledger."""

import re
from collections.abc import Generator
from typing import Any

import httpx
import pytest
from engines import scripted
from processes import Server, serving

from server.api_keys import digest

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    folder = tmp_path_factory.mktemp("sessions")
    limits = {
        "turns": "session_turns = 3",
        "tokens": "session_thinking_tokens = 100",
        "lowered": 'session_thinking_tokens = 100\nover_session = "lower"',
    }
    tables = [
        f'[[keys]]\nname = "{key}"\nsha256 = "{digest(key)}"\n{text}'
        for key, text in limits.items()
    ]
    config = folder / "tops.toml"
    config.write_text("\n".join(tables))
    with scripted() as engine:
        flags = ["--upstream", engine, "--config", str(config), "--workers", "2"]
        with serving(*flags, "--ledger", f"sqlite:///{folder}/ledger.db") as server:
            yield server


def ask(server: Server, key: str, session: str, think: int = 40, **fields: Any) -> httpx.Response:
    messages = [{"role": "user", "content": f"think={think} chunks=2"}]
    headers = {"authorization": f"Bearer {key}", "x-tops-conversation": session}
    body = {"messages": messages, **fields}
    return httpx.post(server.url + CHAT, json=body, headers=headers, timeout=60)


def test_two_workers_keep_the_turns_of_a_session(gateway: Server) -> None:
    answers = [ask(gateway, "turns", "session-a", stream=bool(number % 2)) for number in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    left = [answer.headers["x-tops-session-remaining-turns"] for answer in answers]
    assert left == ["2", "1", "0", "0", "0"]
    assert answers[3].json()["error"]["code"] == "session_budget_exceeded"
    assert "begin another conversation" in answers[3].json()["error"]["message"]
    assert ask(gateway, "turns", "session-b").status_code == 200
    metrics = httpx.get(f"{gateway.url}/metrics").text
    assert re.search(r'tops_over_limit_total\{.*unit="session_turns".*\} 2', metrics)


def test_two_workers_keep_the_thinking_tokens_of_a_session(gateway: Server) -> None:
    answers = [ask(gateway, "tokens", "session-c", 60) for _ in range(3)]
    assert [answer.status_code for answer in answers][-1] == 429
    spent = [
        answer.json()["tops"]["thinking_tokens"] for answer in answers if answer.status_code == 200
    ]
    assert 100 <= sum(spent) <= 121  # the scripted engine may overshoot the last budget
    assert answers[-1].headers["x-tops-session-remaining-thinking-tokens"] == "0"


def test_a_lowered_session_goes_on_without_thinking(gateway: Server) -> None:
    answers = [ask(gateway, "lowered", "session-d", 120) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    last = answers[-1]
    assert last.headers["x-tops-effort"] == "none"
    assert last.headers["x-tops-session-remaining-thinking-tokens"] == "0"


def test_feedback_on_the_session_is_kept_for_its_key_only(gateway: Server) -> None:
    answer = ask(gateway, "turns", "session-e", stream=False)
    note = {"solved": True, "response_id": answer.json()["id"]}
    url = f"{gateway.url}/v1/feedback"
    own, other = ({"authorization": f"Bearer {key}"} for key in ("turns", "tokens"))
    assert httpx.post(url, json=note, headers=own, timeout=60).json()["solved"] == 1
    by_name = {"solved": False, "conversation": "session-e"}
    assert httpx.post(url, json=by_name, headers=own, timeout=60).status_code == 200
    hidden = httpx.post(url, json=by_name, headers=other, timeout=60)
    assert hidden.status_code == 404
    assert "no conversation of this API key" in hidden.json()["error"]["message"]
