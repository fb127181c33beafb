"""The names that clients give their conversations: one test per client, and the traps."""

import json
from typing import Any

import pytest

from server.api import chat, messages, responses
from server.api.session import BODY_FIELDS, HEADERS, looks_unique, named_session
from server.errors import BadRequest

SESSION = "0d1c2b3a-4f5e-4a6b-8c7d-9e0f1a2b3c4d"
AGENT = "7f6e5d4c-3b2a-4190-8f7e-6d5c4b3a2918"
TURNS: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}

CLIENTS: dict[str, tuple[dict[str, str], dict[str, Any], str, str]] = {
    "the gateway's own header": ({"x-tops-conversation": "mine/1"}, {}, "mine/1", "mine/1"),
    "Claude Code": ({"x-claude-code-session-id": SESSION}, {}, SESSION, SESSION),
    "Claude Code, sub-agent": (
        {
            "x-claude-code-session-id": SESSION,
            "x-claude-code-agent-id": AGENT,
            "x-claude-code-parent-agent-id": "main",
        },
        {},
        SESSION,
        f"{SESSION} {AGENT}",
    ),
    "Claude Code without headers": (
        {},
        {"metadata": {"user_id": json.dumps({"device_id": "d", "session_id": SESSION})}},
        SESSION,
        SESSION,
    ),
    "Claude Code, older": (
        {},
        {"metadata": {"user_id": f"user_{'a1' * 32}_account__session_{SESSION}"}},
        SESSION,
        SESSION,
    ),
    "Codex": (
        {"session-id": SESSION, "thread-id": SESSION},
        {"prompt_cache_key": SESSION},
        SESSION,
        SESSION,
    ),
    "Codex, sub-agent": (
        {"session-id": SESSION, "thread-id": AGENT, "x-codex-parent-thread-id": SESSION},
        {},
        SESSION,
        f"{SESSION} {AGENT}",
    ),
    "Codex, threads alone": (
        {"thread-id": AGENT, "x-codex-parent-thread-id": SESSION}, {}, SESSION, AGENT,
    ),
    "Codex, older": ({"session_id": SESSION}, {}, SESSION, SESSION),
    "OpenCode": (
        {"x-session-affinity": "ses_5f3a", "x-session-id": "ses_5f3a"}, {}, "ses_5f3a", "ses_5f3a",
    ),
    "OpenCode, sub-agent": (
        {
            "x-session-affinity": "ses_child",
            "x-session-id": "ses_child",
            "x-parent-session-id": "ses_root",
        },
        {},
        "ses_root",
        "ses_child",
    ),
    "OpenCode, its own provider": ({"x-opencode-session": "ses_1"}, {}, "ses_1", "ses_1"),
    "pi": ({}, {"prompt_cache_key": SESSION}, SESSION, SESSION),
    "Crush": ({"x-session-id": SESSION}, {}, SESSION, SESSION),
    "Copilot CLI": ({"x-client-session-id": SESSION}, {}, SESSION, SESSION),
    "Kilo Code": ({"x-kilocode-taskid": SESSION}, {}, SESSION, SESSION),
    "Mux": ({"x-mux-workspace-id": "a1b2c3d4e5"}, {}, "a1b2c3d4e5", "a1b2c3d4e5"),
    "Amp": ({"x-amp-thread-id": f"T-{SESSION}"}, {}, f"T-{SESSION}", f"T-{SESSION}"),
    "OpenRouter's SDKs": ({}, {"session_id": "support/17"}, "support/17", "support/17"),
    "LiteLLM": ({}, {"litellm_session_id": SESSION}, SESSION, SESSION),
    "LiteLLM, header": ({"x-litellm-session-id": SESSION}, {}, SESSION, SESSION),
    "LiteLLM, metadata": ({}, {"metadata": {"session_id": SESSION}}, SESSION, SESSION),
    "W3C baggage": ({"baggage": f"tenant=a, session.id={SESSION};p=1"}, {}, SESSION, SESSION),
    "Open WebUI": ({"x-openwebui-chat-id": SESSION}, {}, SESSION, SESSION),
    "LibreChat": ({"x-conversation-id": SESSION}, {}, SESSION, SESSION),
    "Responses": ({}, {"conversation": "conv_1"}, "conv_1", "conv_1"),
    "Responses, object": ({}, {"conversation": {"id": "conv_1"}}, "conv_1", "conv_1"),
    "LangSmith": ({}, {"metadata": {"thread_id": SESSION}}, SESSION, SESSION),
    "LangSmith, conversation": ({}, {"metadata": {"conversation_id": SESSION}}, SESSION, SESSION),
}  # fmt: skip


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_s_conversation_and_agent(client: str) -> None:
    headers, body, root, agent = CLIENTS[client]
    session = named_session(headers, body)
    assert session is not None
    assert (session.root, session.agent) == (root, agent)


def test_every_source_has_a_client_and_a_test() -> None:
    sent = {name for headers, _, _, _ in CLIENTS.values() for name in headers}
    assert {source.field for source in HEADERS} <= sent
    used = {named_session(headers, body) for headers, body, _, _ in CLIENTS.values()}
    assert {source.field for source in BODY_FIELDS} <= {
        session.field for session in used if session
    }
    assert all(source.clients for source in (*HEADERS, *BODY_FIELDS))


def test_every_api_reads_them() -> None:
    headers = {"x-session-id": SESSION}
    for api, body in ((chat, TURNS), (messages, TURNS), (responses, {"input": "hi"})):
        session = api.parse(body, headers).session
        assert session is not None
        assert session.root == SESSION


def test_the_order_of_the_sources() -> None:
    headers = {source.field: f"h{index}" for index, source in enumerate(HEADERS)}
    headers["baggage"] = "session.id=h-baggage"
    body = {
        "metadata": {"user_id": json.dumps({"session_id": "b0"}), "session_id": "b4"},
        "conversation": "b1",
        "session_id": "b2",
        "prompt_cache_key": SESSION,
    }
    for source in HEADERS:
        session = named_session(headers, body)
        assert session is not None
        assert session.field == source.field
        del headers[source.field]
    fields: list[str] = []
    while session := named_session(headers, body):
        fields.append(session.field)
        owner, _, name = session.field.rpartition(".")
        del (body[owner] if owner else body)[name]
    assert fields == [
        "metadata.user_id", "conversation", "session_id", "metadata.session_id", "prompt_cache_key",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"x-client-request-id": SESSION}, {}),
        ({"x-request-id": SESSION, "traceparent": "00-" + "a1" * 16 + "-" + "b2" * 8 + "-01"}, {}),
        ({}, {"user": SESSION, "safety_identifier": SESSION}),
        ({}, {"user": f"user_a_account__session_{SESSION}"}),
        ({}, {"metadata": {"user_id": "kim"}}),
        ({}, {"metadata": {"user_id": "{not json"}}),
        ({}, {"metadata": {"user_id": "[1]", "session_id": 5}}),
        ({}, {"metadata": "session", "conversation": ["a"], "session_id": None}),
        ({}, {"conversation": {"id": 7}, "litellm_session_id": {"a": 1}}),
        ({}, {"prompt_cache_key": 7}),
        ({"x-claude-code-agent-id": AGENT}, {}),
        ({"x-parent-session-id": SESSION}, {}),
        ({"baggage": "tenant=a,userId=kim"}, {}),
    ],
)
def test_what_names_no_conversation(headers: dict[str, str], body: dict[str, Any]) -> None:
    assert named_session(headers, body) is None


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "a b", "a\tb", "é", "x" * 257, "{{id}}", "a,b", "a\x00", "null", "undefined"),
        *("NaN", "new", "true", "...", "00000000-0000-0000-0000-000000000000", "f" * 32),
    ],
)
def test_a_malformed_name_is_ignored_and_the_next_one_counts(name: str) -> None:
    assert named_session({"x-session-id": name}, {}) is None
    session = named_session({"x-session-affinity": name, "x-session-id": "good"}, {})
    assert session is not None
    assert session.root == "good"
    child = named_session({"x-claude-code-session-id": "s", "x-claude-code-agent-id": name}, {})
    assert child is not None
    assert (child.root, child.agent) == ("s", "s")


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 257, "{{session}}"])
def test_a_malformed_name_in_the_gateway_s_own_header_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="x-tops-conversation must be 1 to 256") as refusal:
        named_session({"x-tops-conversation": name, "x-session-id": "good"}, {})
    assert refusal.value.param == "x-tops-conversation"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (SESSION, True),
        (SESSION.replace("-", "").upper(), True),
        (f"agent:main:{SESSION}", True),
        ("019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6071", True),  # version 7
        ("ses_5f3a9c0b1d2e3FqZtYwVuXaBcD", True),
        ("01JDKQ3W8Z5X7N9M2P4R6T8V0B", True),  # a ULID
        ("V1StGXR8Z5jdHi6B0myT2", True),  # a nanoid
        ("", False),
        ("my-app", False),
        ("customer-support-agent-2025-11-28", False),
        ("gpt5codereviewassistantprompt", False),
        ("gpt5CodeReviewAssistant2025", False),
        ("12345678901234567890", False),
        ("5d41402abc4b2a76b9719d911017c592", False),  # an MD5
        ("2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", False),
        ("123e4567-e89b-12d3-a456-426614174000", False),  # version 1, of the RFC
        ("6ba7b810-9dad-51d1-80b4-00c04fd430c8", False),  # version 5: from a name
        ("00000000-0000-4000-8000-000000000000", False),
        ("aaaaaaaa-aaaa-4aaa-aaaa-aaaaaaaaaaaa", False),
    ],
)
def test_a_cache_key_names_a_conversation_only_where_it_looks_unique(
    name: str, expected: bool
) -> None:
    assert looks_unique(name) is expected
    assert (named_session({}, {"prompt_cache_key": name}) is not None) is expected
