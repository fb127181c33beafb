"""The relay of a stream, byte by byte: what passes unchanged, is held back, is added."""

import json
from typing import Any

import pytest
from test_server_record import decision_with

from server.api import messages
from server.api.chat import error_event
from server.api.completion_relay import ChatRelay
from server.api.response_relays import MessagesRelay
from server.engines.usage import Usage
from server.lifecycle.record import RequestRecord

ROLE = b'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
WORD = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
STOP = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
STOP_1 = b'data: {"id":"c","choices":[{"index":1,"delta":{},"finish_reason":"length"}]}\n\n'
USAGE = (
    b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7,'
    b'"completion_tokens_details":{"reasoning_tokens":4}}}\n\n'
)
DONE = b"data: [DONE]\n\n"


def tops(usage: Usage | None) -> dict[str, Any]:
    return {"thinking_tokens": usage.thinking if usage else None}


def run(
    chunks: list[bytes], wants_usage: bool = False, choices: int = 1
) -> tuple[list[bytes], ChatRelay]:
    relay = ChatRelay(choices, wants_usage, tops, error_event)
    return [*(relay.feed(chunk) for chunk in chunks), relay.finish()], relay


def events(out: list[bytes]) -> list[Any]:
    lines = [line[6:] for line in b"".join(out).split(b"\n\n") if line]
    return [json.loads(line) if line != b"[DONE]" else "DONE" for line in lines]


def test_chunks_pass_at_once_and_byte_for_byte() -> None:
    out, _ = run([ROLE, WORD + WORD, WORD, STOP, USAGE, DONE])
    assert out[:3] == [ROLE, WORD + WORD, WORD]


def test_without_include_usage_tops_goes_into_the_finish_chunk_and_usage_is_dropped() -> None:
    out, relay = run([ROLE, WORD, STOP, USAGE, DONE])
    *_, finish, end = events(out)
    assert end == "DONE"
    assert relay.settled and relay.error is None
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert finish["tops"] == {"thinking_tokens": 4}
    assert not any("usage" in event for event in events(out)[:-1])


def test_with_include_usage_tops_goes_into_the_usage_chunk_only() -> None:
    out, _ = run([ROLE, WORD, STOP, USAGE, DONE], wants_usage=True)
    assert STOP in b"".join(out)
    *_, usage, end = events(out)
    assert end == "DONE"
    assert usage["usage"]["completion_tokens"] == 7
    assert usage["tops"] == {"thinking_tokens": 4}


def test_two_choices_that_end_at_different_times_have_tops_once() -> None:
    out, _ = run([ROLE, STOP, WORD, STOP_1, USAGE, DONE], choices=2)
    with_tops = [event for event in events(out)[:-1] if "tops" in event]
    assert [event["choices"][0]["index"] for event in with_tops] == [1]
    assert b"".join(out).index(STOP) < b"".join(out).index(WORD)


def recorded(chunks: list[bytes], wants_usage: bool) -> list[Usage | None]:
    usages: list[Usage | None] = []

    def record(usage: Usage | None) -> dict[str, Any]:
        usages.append(usage)
        return {}

    relay = ChatRelay(1, wants_usage, record, error_event)
    for chunk in chunks:
        relay.feed(chunk)
    relay.finish()
    return usages


USED = USAGE.partition(b'"usage":')[2].strip()
INSIDE = STOP.strip()[:-1] + b',"usage":' + USED + b"\n\n"
COMMENT = b": keep-alive\n\n"


@pytest.mark.parametrize("wants_usage", [False, True])
@pytest.mark.parametrize(
    "end",
    [(STOP, COMMENT, USAGE, DONE), (INSIDE, DONE), (STOP, WORD, USAGE, DONE), (INSIDE, WORD, DONE)],
)
def test_usage_is_recorded_once_wherever_the_engine_reports_it(
    end: tuple[bytes, ...], wants_usage: bool
) -> None:
    assert recorded([ROLE, WORD, *end], wants_usage) == [Usage(5, 7, 4)]


def test_usage_of_messages_is_cumulative() -> None:
    record = RequestRecord("id", decision=decision_with(10))
    relay = MessagesRelay(record.record_usage, messages.error_event)
    for tokens in (7, 9):
        body = {"type": "message_delta", "usage": {"input_tokens": 5, "output_tokens": tokens}}
        relay.feed(b"event: message_delta\ndata: " + json.dumps(body).encode() + b"\n\n")
    assert record.usage == Usage(5, 9, None)


def test_a_stream_without_usage_has_tops_all_the_same() -> None:
    out, _ = run([WORD, STOP, DONE])
    assert events(out)[-2]["tops"] == {"thinking_tokens": None}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
def test_any_split_of_the_stream_gives_the_same_bytes(size: int) -> None:
    stream = ROLE + WORD + STOP + USAGE + DONE
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert b"".join(run(chunks)[0]) == b"".join(run([stream])[0])


def test_carriage_returns_and_spaces_of_other_engines_are_read() -> None:
    spaced = STOP.replace(b'":', b'": ').replace(b"\n\n", b"\r\n\r\n")
    usage = USAGE.replace(b'":', b'": ').replace(b"\n\n", b"\r\n\r\n")
    out, relay = run([WORD.replace(b"\n\n", b"\r\n\r\n"), spaced, usage, b"data: [DONE]\r\n\r\n"])
    assert relay.settled and relay.error is None
    assert b'"tops":{"thinking_tokens":4}' in b"".join(out)


def test_text_that_looks_like_an_end_does_not_end_the_stream() -> None:
    tricky = {"choices": [{"index": 0, "delta": {"content": '"finish_reason":"stop" [DONE]'}}]}
    event = b"data: " + json.dumps(tricky).encode() + b"\n\n"
    out, relay = run([event, WORD])
    assert b"".join(out[:-1]) == event + WORD
    assert relay.error is not None


def test_an_error_event_passes_and_marks_the_stream_as_failed() -> None:
    event = b'data: {"error":{"message":"out of memory","code":500}}\n\n'
    out, relay = run([WORD, event])
    assert b"".join(out) == WORD + event
    assert relay.error is not None


@pytest.mark.parametrize("end", [b"data:[DONE]\n\n", b": ping\ndata: [DONE]\n\n"])
def test_every_form_of_done_ends_the_stream(end: bytes) -> None:
    out, relay = run([WORD, STOP, USAGE, end])
    assert relay.settled and relay.error is None
    assert b"".join(out).endswith(end)
    assert b'"tops"' in b"".join(out)


def test_a_comment_passes_at_once() -> None:
    assert run([b":\n\n", b": ping\r\n\r\n"])[0][:-1] == [b":\n\n", b": ping\n\n"]


def test_an_error_may_be_a_string_and_null_is_no_error() -> None:
    error = b'data: {"error":"out of memory"}\n\n'
    assert run([WORD, error])[1].error is not None
    null = STOP.replace(b'"id"', b'"error":null,"id"')
    assert run([WORD, null, DONE])[1].error is None


def test_a_stream_that_breaks_off_ends_with_its_last_complete_event() -> None:
    out, relay = run([WORD, STOP, USAGE[:40]], wants_usage=True)
    *_, finish, error = events(out)
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert error["error"]["code"] == "engine_failed"
    assert relay.error is not None
