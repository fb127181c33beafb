"""Engines' errors about the context, in the words that clients look for."""

import re
from typing import Any

import pytest

from server.api import chat, messages, responses
from server.api.context_overflow import context_overflow

VLLM = (
    "This model's maximum context length is 1024 tokens. However, you requested 2048 output tokens "
    "and your prompt contains at least 41 input tokens, for a total of at least 2089 tokens."
)
OVERFLOWS: list[tuple[dict[str, Any], int | None, int | None]] = [
    ({"message": VLLM, "type": "BadRequestError", "code": 400}, 1024, 41),
    (
        {
            "message": "The decoder prompt (length 3000) is longer than the maximum model length "
            "of 1024. Make sure that `max_model_len` is no smaller than the number of tokens."
        },
        1024,
        3000,
    ),
    (
        {
            "message": "the request exceeds the available context size, try increasing it",
            "type": "exceed_context_size_error",
            "code": 400,
            "n_prompt_tokens": 3000,
            "n_ctx": 1024,
        },
        1024,
        3000,
    ),
    (
        {
            "message": "The input (3000 tokens) is longer than the model's context length "
            "(1024 tokens)."
        },
        1024,
        3000,
    ),
    (
        {
            "message": "Requested token count exceeds the model's maximum context length of 1024 "
            "tokens. You requested a total of 3000 tokens: 2000 tokens from the input messages."
        },
        1024,
        None,
    ),
    ({"message": "prompt is too long: 3000 tokens > 1024 maximum"}, 1024, 3000),
    ({"message": "too long", "code": "context_length_exceeded"}, None, None),
]


@pytest.mark.parametrize(("error", "context", "prompt"), OVERFLOWS)
def test_an_overflow_is_recognised_with_its_counts(
    error: dict[str, Any], context: int | None, prompt: int | None
) -> None:
    overflow = context_overflow(error, None)
    assert overflow is not None
    assert (overflow.context, overflow.prompt) == (context, prompt)


@pytest.mark.parametrize("error", [error for error, _, _ in OVERFLOWS])
def test_clients_of_openai_s_apis_find_code_and_words(error: dict[str, Any]) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}]}
    for api, param in ((chat, "messages"), (responses, "input")):
        request = api.parse({**body, "input": "hi"}, {})
        refusal = api.refusal({"error": error, "other": 1}, 400, request.max_tokens, 1024)
        assert refusal["other"] == 1
        refused = refusal["error"]
        assert refused["code"] == "context_length_exceeded"
        assert refused["type"] == "invalid_request_error"
        assert refused["param"] == param
        assert re.search(r"maximum context length is 1024 tokens", refused["message"])
        assert error["message"] in refused["message"]


@pytest.mark.parametrize("error", [error for error, _, _ in OVERFLOWS])
def test_anthropic_s_clients_find_theirs(error: dict[str, Any]) -> None:
    request = messages.parse({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}, {})
    refusal = messages.refusal({"error": error}, 400, request.max_tokens, 1024)
    assert refusal["type"] == "error"
    assert refusal["error"]["type"] == "invalid_request_error"
    assert re.match(r"prompt is too long: \d+ tokens > 1024 maximum", refusal["error"]["message"])


def test_a_length_that_does_not_fit_beside_the_prompt_is_the_sum() -> None:
    refusal = messages.refusal({"error": {"message": VLLM}}, 400, 2048, None)
    assert refusal["error"]["message"].startswith(
        "input length and `max_tokens` exceed context limit: 41 + 2048 > 1024,"
    )


@pytest.mark.parametrize(
    "error",
    [
        {"message": "temperature must be at most 2", "code": 400},
        {"message": "the messages' roles must alternate"},
        {"message": None},
    ],
)
def test_another_error_is_passed_on(error: dict[str, Any]) -> None:
    request = chat.parse({"messages": [{"role": "user", "content": "hi"}]}, {})
    assert chat.refusal({"error": error}, 400, request.max_tokens, 1024) == {"error": error}


def test_an_error_that_is_a_text_becomes_an_object() -> None:
    """Clients read its message, which Ollama and TGI send bare."""
    request = chat.parse({"messages": [{"role": "user", "content": "hi"}]}, {})
    refused = {"error": "bad seed", "error_type": "validation"}
    for api in (chat, responses):
        error = api.refusal(refused, 422, request.max_tokens, 1024)["error"]
        assert error == {"message": "bad seed", "type": "validation", "param": None, "code": None}
    assert (
        chat.refusal({"error": "no"}, 500, request.max_tokens, None)["error"]["type"]
        == "engine_error"
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_an_engine_s_error_gets_anthropic_s_type(status: int, kind: str) -> None:
    request = messages.parse({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}, {})
    for error in ("no", {"message": "no", "type": "BadRequestError", "param": "x"}):
        refusal = messages.refusal({"error": error}, status, request.max_tokens, None)
        assert refusal["type"] == "error"
        assert (refusal["error"]["type"], refusal["error"]["message"]) == (kind, "no")
