"""Answers as streams bring them and as histories hold them: the same identity in both."""

import json
from typing import Any

import pytest

from router.messages import read_messages
from server.api.answer_identity import answer_identities, given_identities
from server.api.streamed_answer import (
    CHAT_FORM,
    MESSAGES_FORM,
    RESPONSES_FORM,
    StreamedAnswer,
    StreamForm,
)

QUESTION = {"role": "user", "content": "a question"}
TEXTS = [
    "42",
    "  The answer is 42.\n",
    'He said "yes"\\no \u2028 \u00e9 \U0001f600 \\ {"content": "x"}',
    "A sentence of some length. " * 20,
    "\U0001f600" * 300,
    "<think>\nlet me see </thin\n</think>\n\nSo it is 42.",
    f"<think>{'hmm, ' * 200}</think>{'It is 42, since 6 * 7 is that. ' * 9}",
]


def sse(body: Any, name: str | None = None, ascii_only: bool = True) -> bytes:
    event = f"event: {name}\n" if name else ""
    return f"{event}data: {json.dumps(body, ensure_ascii=ascii_only)}\n\n".encode()


def chat_events(text: str, size: int, ascii_only: bool) -> list[bytes]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, {"reasoning": "content"}]
    deltas += [{"content": text[at : at + size]} for at in range(0, len(text), size)]
    bodies = [
        {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": delta, "logprobs": None}]}
        for delta in deltas
    ]
    return [sse(body, ascii_only=ascii_only) for body in bodies]


def messages_events(text: str, size: int, ascii_only: bool) -> list[bytes]:
    bodies: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "msg_1", "content": []}},
        {"type": "content_block_start", "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "text"}},
        {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
    ]
    bodies += [
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": part}}
        for part in (text[at : at + size] for at in range(0, len(text), size))
    ]
    return [sse(body, body["type"], ascii_only) for body in bodies]


def responses_events(text: str, size: int, ascii_only: bool) -> list[bytes]:
    created = {"type": "response.created", "response": {"id": "resp_1", "object": "response"}}
    thought = {"delta": "hmm", "item_id": "rs_1", "type": "response.reasoning_text.delta"}
    bodies: list[dict[str, Any]] = [created, thought]
    bodies += [
        {"delta": text[at : at + size], "item_id": "msg_1", "type": "response.output_text.delta"}
        for at in range(0, len(text), size)
    ]
    return [sse(body, body["type"], ascii_only) for body in bodies]


FORMS = {
    "chat": (CHAT_FORM, chat_events),
    "messages": (MESSAGES_FORM, messages_events),
    "responses": (RESPONSES_FORM, responses_events),
}

IDS = {"chat": "chatcmpl-1", "messages": "msg_1", "responses": "resp_1"}


def read(form: StreamForm, events: list[bytes], batch: int) -> StreamedAnswer:
    answer = StreamedAnswer(form)
    for at in range(0, len(events), batch):
        if not answer.settled:
            answer.feed(b"".join(events[at : at + batch]))
    return answer


def identities(messages: list[Any]) -> list[str]:
    return [*answer_identities(messages, read_messages(messages).turns)]


@pytest.mark.parametrize("api", FORMS)
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_streamed_answer_has_the_identity_of_the_answer_in_a_history(api: str, text: str) -> None:
    form, events = FORMS[api]
    (expected,) = identities([QUESTION, {"role": "assistant", "content": text}])
    for size, batch, ascii_only in ((1, 1, True), (5, 32, False), (10_000, 1, True)):
        answer = read(form, events(text, size, ascii_only), batch)
        turns = read_messages([QUESTION]).turns
        assert given_identities(turns, [answer.messages()]) == [expected]
        assert answer.response_id == IDS[api]


def test_halves_of_a_character_in_two_events_are_joined() -> None:
    events = [
        b'data: {"choices":[{"delta":{"content":"ok \\ud83d"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\ude00"}}]}\n\n',
    ]
    assert read(CHAT_FORM, events, 1).messages()[0]["content"] == "ok \U0001f600"


def test_a_long_stream_is_not_read_to_its_end() -> None:
    answer = read(CHAT_FORM, chat_events("word " * 1000, 5, True), 1)
    assert answer.settled
    assert len(answer.messages()[0]["content"]) < 200


@pytest.mark.parametrize(
    ("form", "events"),
    [
        (
            CHAT_FORM,
            [
                sse({"id": "chatcmpl-1", "choices": [{"delta": {"tool_calls": []}}]}),
                sse({
                    "id": "chatcmpl-1",
                    "choices": [{"delta": {"tool_calls": [
                        {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": ""}}
                    ]}}],
                }),
                sse({"choices": [{"delta": {"tool_calls": [
                    {"index": 0, "function": {"arguments": '{"id": "x"}'}}
                ]}}]}),
            ],
        ),
        (
            MESSAGES_FORM,
            [
                sse({"type": "message_start", "message": {"id": "msg_1"}}),
                sse({
                    "type": "content_block_start",
                    "content_block": {"type": "tool_use", "id": "call_1", "name": "f", "input": {}},
                }),
            ],
        ),
        (
            RESPONSES_FORM,
            [
                sse({"type": "response.created", "response": {"id": "resp_1"}}),
                sse({
                    "type": "response.output_item.added",
                    "item": {"type": "function_call", "id": "fc_1", "call_id": "call_1"},
                }),
            ],
        ),
    ],
    ids=["chat", "messages", "responses"],
)  # fmt: skip
def test_an_answer_that_calls_a_tool_is_identified_by_the_call(
    form: StreamForm, events: list[bytes]
) -> None:
    calling = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1"}]}
    expected = identities([QUESTION, calling])
    assert len(expected) == 1
    for batch in (1, 9):
        messages = read(form, events, batch).messages()
        assert given_identities(read_messages([QUESTION]).turns, [messages]) == expected


def test_a_tool_call_s_random_id_identifies_it_after_any_question() -> None:
    call_id = "chatcmpl-tool-5f3a9c0b1d2e4fa8b7c6d5e4f3a2b1c0"
    random = {"role": "assistant", "tool_calls": [{"id": call_id}]}
    counted = {"role": "assistant", "tool_calls": [{"id": "call_0"}]}
    other = {"role": "user", "content": "another question"}
    assert identities([QUESTION, random]) == identities([other, random])
    assert identities([QUESTION, counted]) != identities([other, counted])


def test_unreadable_and_empty_messages_show_nothing() -> None:
    for message in (
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": "  \n"},
        {"role": "assistant", "content": "<think>cut"},
        {"role": "assistant", "content": 5, "tool_calls": "x"},
        {"role": "assistant", "content": [7], "tool_calls": [3, {"id": 4}]},
        {"role": "user", "content": "The answer is 42."},
    ):
        assert identities([QUESTION, message]) == []
    assert identities([QUESTION, "no object", {"role": "assistant", "content": "42"}]) == []


def test_a_long_history_is_read_from_its_end() -> None:
    turns = [
        message
        for number in range(40)
        for message in (QUESTION, {"role": "assistant", "content": f"{number}"})
    ]
    shown = identities(turns)
    assert len(shown) == 16
    assert shown[0].startswith("text 39\n")
