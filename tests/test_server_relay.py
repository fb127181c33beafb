"""The relay of a stream, byte by byte: what passes unchanged, is held back, is added."""

import json
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_server_record import decision_with

from server.api import messages, responses
from server.api.chat import error_event
from server.api.completion_relay import ChatRelay
from server.api.relay import Relay, answers
from server.api.response_relays import MessagesRelay, ResponsesRelay
from server.engines.usage import Usage
from server.errors import EngineFailed
from server.http import sse
from server.http.sse import encode, read_event, split
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


def passed(relay: Relay, chunk: bytes) -> bytes:
    events = relay.pass_on(chunk)
    return relay.feed(chunk) if events is None else events


def run(
    chunks: list[bytes], wants_usage: bool = False, choices: int = 1
) -> tuple[list[bytes], ChatRelay]:
    relay = ChatRelay(choices, wants_usage, tops, error_event)
    return [*(passed(relay, chunk) for chunk in chunks), relay.finish()], relay


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
        passed(relay, chunk)
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
        passed(relay, b"event: message_delta\ndata: " + json.dumps(body).encode() + b"\n\n")
    assert record.usage == Usage(5, 9, None)
    body = {"type": "message_stop", "usage": {"output_tokens": 11}}
    passed(relay, b"event: message_stop\ndata: " + json.dumps(body).encode() + b"\n\n")
    assert record.usage == Usage(5, 11, None)


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


def test_the_reason_of_an_error_may_be_plain_text() -> None:
    _, relay = run([ROLE, b"event: error\ndata: out of memory\n\n"])
    assert str(relay.error) == "the engine failed: out of memory"
    for other in (
        MessagesRelay(tops, messages.error_event),
        ResponsesRelay(tops, responses.error_event, "low"),
    ):
        other.feed(b"event: error\ndata: out of memory\n\n")
        assert str(other.error) == "the engine failed: out of memory"


@pytest.mark.parametrize("reason", [b"timeout", b"engine_overloaded", b"exception"])
def test_a_finish_reason_may_say_that_the_engine_failed(reason: bytes) -> None:
    _, relay = run([ROLE, WORD, STOP.replace(b"stop", reason), DONE])
    assert isinstance(relay.error, EngineFailed)


def test_usage_of_a_choice_is_recorded_and_stays_there() -> None:
    finish = STOP.replace(b'"stop"', b'"stop","usage":{"prompt_tokens":5,"completion_tokens":7}')
    out, relay = run([ROLE, WORD, finish], wants_usage=True)
    assert relay.error is None
    assert recorded([ROLE, WORD, finish, DONE], wants_usage=False) == [Usage(5, 7, None)]
    assert events(out)[2]["choices"][0]["usage"]["completion_tokens"] == 7


def test_a_stream_without_any_blank_line_is_read_at_its_end() -> None:
    lines = b"".join(event[:-1] for event in (ROLE, WORD, STOP, USAGE, DONE))
    for stream in (lines, lines.replace(b"\n", b"\r\n"), lines + b'data: {"cut'):
        out, relay = run([stream])
        assert relay.error is None
        assert [event for event in split(b"".join(out)) if b'"hi"' in event] == [WORD]


def test_a_stream_that_breaks_off_ends_with_its_last_complete_event() -> None:
    out, relay = run([WORD, WORD, STOP[:40]])
    *_, last, error = events(out)
    assert last["choices"][0]["delta"]["content"] == "hi"
    assert error["error"]["code"] == "engine_failed"
    assert relay.error is not None


EMPTY = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":""}]}\n\n'


def test_an_empty_finish_reason_is_none() -> None:
    out, relay = run([EMPTY, EMPTY, STOP])
    assert out[:2] == [EMPTY, EMPTY]
    assert relay.error is None


def test_done_needs_a_finish_reason() -> None:
    out, relay = run([WORD, USAGE, DONE])
    assert relay.error is not None
    assert events(out)[-1]["error"]["code"] == "engine_failed"


def test_every_choice_must_finish_where_the_engine_does_not_say_done() -> None:
    assert run([WORD, STOP, USAGE], choices=2)[1].error is not None
    assert run([WORD, STOP, STOP_1, USAGE], choices=2)[1].error is None


def test_a_heartbeat_releases_the_finish_of_one_of_several_choices() -> None:
    out, _ = run([WORD, STOP, COMMENT, STOP_1, USAGE, DONE], choices=2)
    assert out[2] == STOP + COMMENT
    assert "tops" in events(out[3:])[-2]


def test_a_heartbeat_after_the_last_finish_waits_for_no_chunk() -> None:
    assert run([WORD, STOP, COMMENT])[0][1:3] == [b"", COMMENT]


@pytest.mark.parametrize("wants_usage", [False, True])
@pytest.mark.parametrize("end", [(), (DONE,), (USAGE[:40],)])
def test_an_answer_is_whole_without_its_usage(end: tuple[bytes, ...], wants_usage: bool) -> None:
    out, relay = run([WORD, STOP, *end], wants_usage)
    *_, finish, done = events(out)
    assert (relay.error, done) == (None, "DONE")
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert finish["tops"] == {"thinking_tokens": None}


def test_an_engine_error_with_a_status_of_the_client_s_has_it() -> None:
    relay = run([WORD, b'data: {"error":{"message":"too long","code":400}}\n\n'])[1]
    assert relay.error is not None and relay.error.status == 400


def test_nothing_follows_done() -> None:
    assert b"".join(run([WORD, STOP, DONE, WORD, USAGE])[0]).endswith(DONE)


def test_the_stream_s_account_stands_once_nothing_can_change_it() -> None:
    relay = run([])[1]
    relay = ChatRelay(1, False, tops, error_event)
    passed(relay, WORD + STOP)
    assert relay.answered and not relay.settled
    passed(relay, USAGE)
    assert relay.settled


def test_an_event_has_a_limit_and_its_parts_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 2**20)
    relay = ChatRelay(1, False, tops, error_event)
    part, fed = b"x" * 64, 0
    started = time.process_time()
    with pytest.raises(EngineFailed, match="MiB"):
        while True:
            assert passed(relay, part) == b""
            fed += len(part)
    assert fed <= 2**20
    assert time.process_time() - started < 2


@pytest.mark.parametrize("text", ['say "hi"', "a\\", "x\ty", "[DONE]", 'finish_reason":"stop'])
def test_a_chunk_that_differs_in_its_text_only_passes(text: str) -> None:
    relay = ChatRelay(1, False, tops, error_event)
    body = json.loads(WORD[6:])
    for content in ("one", "two", text, "three"):
        body["choices"][0]["delta"]["content"] = content
        event = encode(body)
        assert passed(relay, event) == event
    assert not relay.answered


def test_a_chunk_like_the_last_but_for_its_end_is_read() -> None:
    relay = ChatRelay(1, False, tops, error_event)
    assert passed(relay, WORD) == passed(relay, WORD) == WORD
    passed(relay, WORD.replace(b"null", b'"stop"'))
    assert relay.answered


def test_events_without_blank_lines_between_them_are_told_apart() -> None:
    out, relay = run([b"".join((WORD, WORD, STOP, USAGE, DONE)).replace(b"\n\n", b"\n") + b"\n"])
    assert relay.error is None
    assert [event != "DONE" and "tops" in event for event in events(out)] == [0, 0, 1, 0]


STREAM = (ROLE, WORD, EMPTY, WORD, STOP, USAGE, DONE)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_segments_line_ends_and_comments_change_nothing(data: st.DataObject) -> None:
    """The client reads the same and the account is the same, however the stream is written."""
    wants_usage = data.draw(st.booleans())
    kept = data.draw(st.lists(st.booleans(), min_size=len(STREAM), max_size=len(STREAM)))
    stream = [event for event, keep in zip(STREAM, kept, strict=True) if keep]
    whole = accounted([b"".join(stream)], wants_usage)
    comment = st.sampled_from([b"", b": ping\n\n", b":\n\n", b"id: 4\n\n"])
    written = b"".join(data.draw(comment) + rewritten(data, event) for event in stream)
    ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
    one, lines = data.draw(st.none() | ends), b""
    for line in written.split(b"\n")[:-1]:
        end = one or data.draw(ends)
        is_one_end = not line and end == b"\n" and lines.endswith(b"\r")  # CRLF, not CR and LF
        lines += line + (b"\r" if is_one_end else end)
    raw = data.draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + lines
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    segments = [raw[a:b] for a, b in pairwise([0, *cuts, len(raw)]) if a < b]
    assert accounted(segments, wants_usage) == whole


def rewritten(data: st.DataObject, event: bytes) -> bytes:
    """The event in another spelling of the same."""
    spelling = data.draw(st.integers(0, 3))
    if spelling == 1:
        return event.replace(b"data: ", b"data:")
    if spelling == 2:
        return b"event: message\nid: 7\n" + event
    return event.replace(b',"', b',\ndata:"') if spelling == 3 and event != DONE else event


def accounted(chunks: list[bytes], wants_usage: bool) -> tuple[Any, ...]:
    """What a client reads in the stream, what is recorded, and whether it is an error."""
    usages: list[Usage | None] = []

    def record(usage: Usage | None) -> dict[str, Any]:
        usages.append(usage)
        return tops(usage)

    relay = ChatRelay(1, wants_usage, record, error_event)
    out = b"".join([*(passed(relay, chunk) for chunk in chunks), relay.finish()])
    data = [read_event(event)[1] for event in split(out)]
    read = [line if line == b"[DONE]" else json.loads(line) for line in data if line is not None]
    return read, usages, relay.error and relay.error.message


def test_white_space_of_json_changes_nothing() -> None:
    """Swift's encoder writes `"name" : value`, which is valid."""
    spaced = [event.replace(b'":', b'" : ') for event in (ROLE, WORD, STOP, USAGE)]
    for wants_usage in (True, False):
        plain, _ = run([ROLE, WORD, STOP, USAGE, DONE], wants_usage)
        out, relay = run([*spaced, DONE], wants_usage)
        assert relay.error is None
        assert events(out) == events(plain)


def test_a_character_may_be_cut_between_two_chunks() -> None:
    """By an engine of JavaScript's strings; the second half comes with the end."""
    halves = [WORD.replace(b"hi", b"\\ud83d"), STOP.replace(b"{}", b'{"content":"\\ude00"}')]
    for wants_usage in (True, False):
        out, relay = run([ROLE, *halves, USAGE, DONE], wants_usage)
        assert relay.error is None
        texts = [part["choices"][0]["delta"].get("content", "") for part in events(out)[1:3]]
        assert "".join(texts) == "\ud83d\ude00"
        assert b'"thinking_tokens":4' in b"".join(out)


@pytest.mark.parametrize(
    ("delta", "is_thought"),
    [
        (b'"reasoning":"a"', True),
        (b'"content":null,"reasoning_content":"a"', True),
        (b'"reasoning":"a","content":""', False),
        (b'"content":"a"', False),
        (b'"content":"","reasoning":"a"', False),
    ],
)
def test_what_passes_as_thought_has_no_text_of_the_answer(delta: bytes, is_thought: bool) -> None:
    relay = ChatRelay(1, False, tops, error_event)
    event = b'data: {"id":"c","choices":[{"index":0,"delta":{%b}}]}\n\n' % delta
    assert passed(relay, event) == passed(relay, event) == event
    assert relay.passes_thoughts is is_thought


@pytest.mark.parametrize(
    ("event", "is_answer"),
    [
        (WORD, True),
        (b'data: {"choices":[{"delta":{"content": "a"}}]}\n\n', True),
        (b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n', False),
        (b'data: {"choices":[{"delta":{"content":null,"reasoning_content":"a"}}]}\n\n', False),
        (b'data: {"choices":[{"delta":{"reasoning":"\\"content\\":\\"a"}}]}\n\n', False),
        (b'data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}\n\n', True),
        (b'data: {"choices":[{"delta":{"content":"","tool_calls":[]}}]}\n\n', False),
        (b'data: {"type":"response.output_text.delta","delta":"a"}\n\n', True),
        (b'data: {"type":"response.reasoning_text.delta","delta":"a"}\n\n', False),
        (b'data: {"delta":{"type":"text_delta","text":"a"}}\n\n', True),
        (b'data: {"delta":{"type":"thinking_delta","thinking":"a"}}\n\n', False),
        (b'data: {"delta":{"type":"input_json_delta","partial_json":"{"}}\n\n', True),
    ],
)
def test_an_answer_is_told_from_thoughts(event: bytes, is_answer: bool) -> None:
    assert answers(event) is is_answer
