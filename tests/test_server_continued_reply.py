"""Streams that end without an answer and are continued, in segments of any size."""

import asyncio
import json
from typing import Any

import pytest
from test_server_two_phase import DONE, RESUME, event, payloads, usage

from server.engines.continuing import chat, messages, responses
from server.engines.continuing.reply import ContinuedReply
from server.engines.continuing.room import Room
from server.engines.reply import Sink, give
from server.engines.usage import Usage
from server.errors import EngineFailed
from server.http.sse import payload, split

NEVER = b"never"


class RawReply:
    """An engine's stream as segments of bytes.

    An error is raised in its place; NEVER is a silence without end.
    """

    cut = retry_after = None

    def __init__(self, *segments: bytes | Exception, status: int = 200) -> None:
        self.status, self.is_stream = status, status == 200
        self._segments = list(segments)
        self.closed = False

    async def begin(self) -> None: ...

    async def next_chunk(self) -> bytes:
        segment = self._segments.pop(0) if self._segments else b""
        if isinstance(segment, Exception):
            raise segment
        if segment is NEVER:
            await asyncio.sleep(3600)
        return segment

    async def stream_to(self, sink: Sink) -> None:
        while segment := await self.next_chunk():
            await give(sink, segment)

    async def read(self) -> bytes:
        return await self.next_chunk()

    async def aclose(self) -> None:
        self.closed = True


def sse(*bodies: Any) -> list[bytes]:
    texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
    return [f"data: {text}\n\n".encode() for text in texts]


def finish(reason: str = "length") -> dict[str, Any]:
    body = event({})
    body["choices"][0]["finish_reason"] = reason
    return body


THOUGHTS = [event({"role": "assistant", "content": ""}), *[event({"reasoning": "hm "})] * 4]
FIRST = sse(*THOUGHTS, finish("stop"), {"choices": [], "usage": usage(4, 4)}, DONE)
SECOND = sse(event({"content": "5"}), finish("stop"), {"choices": [], "usage": usage(2)}, DONE)


async def count_words(text: str) -> int:
    return len(text.split())


class Engine:
    def __init__(self, *replies: RawReply) -> None:
        self.replies, self.bodies = list(replies), list[dict[str, Any]]()
        self.booked: list[Usage] = []

    def post(self, body: dict[str, Any]) -> RawReply:
        self.bodies.append(body)
        return self.replies[len(self.bodies) - 1]

    def stream(
        self, room: Room, by_sink: bool = True, api: Any = chat, leaves: bytes = NEVER, **body: Any
    ) -> bytes:
        """What a client gets, who leaves once it has got these bytes."""
        body = {"messages": [{"role": "user", "content": "2 + 3?"}], "stream": True, **body}
        reply = ContinuedReply(self.post, body, api, RESUME, room, count_words, self.booked.append)

        async def main() -> bytes:
            sent: list[bytes] = []

            async def sink(chunk: bytes) -> None:
                sent.append(chunk)

            await reply.begin()
            try:
                sent.append(await reply.next_chunk())
                if by_sink and leaves is NEVER:
                    await reply.stream_to(sink)
                while leaves not in sent[-1] and (chunk := await reply.next_chunk()):
                    sent.append(chunk)
            finally:
                await reply.aclose()
            self.cut = reply.cut
            return b"".join(sent)

        return asyncio.run(main())


def text(sent: bytes, name: str = "content") -> str:
    events = payloads([item + b"\n\n" for item in sent.split(b"\n\n") if item])
    bodies = [item for item in events if isinstance(item, dict)]
    deltas = [choice["delta"] for item in bodies for choice in item["choices"]]
    return "".join(delta.get(name) or "" for delta in deltas)


ROOM = Room(max_tokens=20, reserve=5)
SEGMENTS: dict[str, list[bytes]] = {
    "an event each": FIRST,
    "one segment": [b"".join(FIRST)],
    "a byte each": [bytes([byte]) for byte in b"".join(FIRST)],
    "CRLF": [item.replace(b"\n", b"\r\n") for item in FIRST],
    "CR and LF apart": [part for item in FIRST for part in (item[:-2] + b"\r", b"\n\r", b"\n")],
    "heartbeats": [part for item in FIRST for part in (item, b": ping\n\n")],
}


@pytest.mark.parametrize("by_sink", [False, True])
@pytest.mark.parametrize("segments", SEGMENTS.values(), ids=SEGMENTS)
def test_a_stream_in_segments_of_any_size_is_continued(
    segments: list[bytes], by_sink: bool
) -> None:
    engine = Engine(RawReply(*segments), RawReply(*SECOND))
    sent = engine.stream(ROOM, by_sink, max_tokens=20)
    assert text(sent) == "5"
    assert sent.count(b'"stop"') == 1
    assert sent.count(b"[DONE]") == 1
    assert b'"completion_tokens":6' in sent.replace(b": ", b":")
    assert engine.bodies[1]["max_tokens"] == 16
    assert all(reply.closed for reply in engine.replies)


@pytest.mark.parametrize("segments", SEGMENTS.values(), ids=SEGMENTS)
def test_a_stream_with_an_answer_passes_unchanged(segments: list[bytes]) -> None:
    answer = sse(*THOUGHTS, *[json.loads(item[6:]) for item in SECOND[:-1]], DONE)
    whole = b"".join(answer)
    is_crlf = b"\r" in b"".join(segments)
    pieces = [bytes([byte]) for byte in whole] if len(segments) > 99 else answer
    if is_crlf:
        pieces = [piece.replace(b"\n", b"\r\n") for piece in pieces]
    engine = Engine(RawReply(*pieces))
    assert engine.stream(ROOM).replace(b"\r\n", b"\n") == whole
    assert len(engine.bodies) == 1


@pytest.mark.parametrize("per_segment", [1, 2, 99])
@pytest.mark.parametrize("budget", [0, 1, 3])
def test_a_stream_is_cut_at_its_budget(budget: int, per_segment: int) -> None:
    parts = [b"".join(FIRST[:5][at : at + per_segment]) for at in range(0, 5, per_segment)]
    endless = sse(*[event({"reasoning": "and "})] * 50)
    engine = Engine(RawReply(*parts, *endless), RawReply(*SECOND))
    sent = engine.stream(Room(None, 5, budget=budget))
    assert text(sent) == "5"
    assert text(sent, "reasoning").startswith("hm " * budget + "\nThat is all")
    assert engine.cut
    assert b'"reasoning_tokens":%d' % budget in sent.replace(b": ", b":")


def test_heartbeats_are_no_thoughts() -> None:
    heartbeats = [b": ping\n\n"] * 30
    engine = Engine(RawReply(*heartbeats, *FIRST[:3], *heartbeats, *SECOND))
    assert text(engine.stream(Room(None, 5, budget=3))) == "5"
    assert len(engine.bodies) == 1


def test_an_engine_that_breaks_off_after_the_end_of_its_thoughts_is_continued() -> None:
    broken = EngineFailed("the engine closed the connection before its answer was complete")
    engine = Engine(RawReply(*FIRST[:6], broken), RawReply(*SECOND))
    assert text(engine.stream(ROOM)) == "5"
    with pytest.raises(EngineFailed):
        Engine(RawReply(*FIRST[:5], broken)).stream(ROOM)


def test_an_engine_that_does_not_end_its_stream_is_continued() -> None:
    lingering = RawReply(*FIRST, *[b": ping\n\n"] * 1000)
    engine = Engine(lingering, RawReply(*SECOND))
    assert text(engine.stream(ROOM)) == "5"
    assert len(lingering._segments) > 990  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("by_sink", [False, True])
@pytest.mark.parametrize("segments", [[*FIRST[:6], NEVER], [b"".join(FIRST[:6]), NEVER]])
def test_an_engine_that_falls_silent_after_the_end_of_its_thoughts_is_continued(
    segments: list[bytes], by_sink: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.engines.continuing.reply.ENDING_SECONDS", 0.05)
    engine = Engine(RawReply(*segments), RawReply(*SECOND))
    assert text(engine.stream(ROOM, by_sink)) == "5"


@pytest.mark.parametrize("reason", ["length", "LENGTH", "max_tokens", "eos", "STOP", "tool_calls"])
def test_thoughts_end_by_any_spelling_of_a_reason(reason: str) -> None:
    first = sse(*THOUGHTS, finish(reason), {"choices": [], "usage": usage(4, 4)}, DONE)
    assert text(Engine(RawReply(*first), RawReply(*SECOND)).stream(ROOM)) == "5"


@pytest.mark.parametrize("reason", ["content_filter", "SAFETY", "refusal", "sensitive"])
def test_thoughts_that_a_filter_ended_are_not_continued(reason: str) -> None:
    first = sse(*THOUGHTS, finish(reason), DONE)
    assert Engine(RawReply(*first)).stream(ROOM) == b"".join(first)


@pytest.mark.parametrize("status", [400, 500])
def test_an_engine_that_refuses_to_continue_leaves_its_own_end(status: int) -> None:
    refusals = [RawReply(status=status), RawReply(status=status)]
    engine = Engine(RawReply(*FIRST), *refusals)
    assert engine.stream(ROOM) == b"".join(FIRST)
    assert len(engine.bodies) == (3 if status == 400 else 2)


def test_a_request_that_is_too_long_to_continue_is_shortened_once() -> None:
    engine = Engine(RawReply(*FIRST), RawReply(status=400), RawReply(*SECOND))
    assert text(engine.stream(ROOM, max_tokens=20)) == "5"
    assert [body["max_tokens"] for body in engine.bodies] == [20, 16, 5]
    prefixes = [body["messages"][-1]["content"] for body in engine.bodies[1:]]
    assert len(prefixes[1]) < len(prefixes[0])


def test_an_engine_that_does_not_go_on_after_a_cut_has_failed() -> None:
    endless = sse(*[event({"reasoning": "and "})] * 50)
    engine = Engine(RawReply(*endless), RawReply(status=500))
    with pytest.raises(EngineFailed, match="did not go on"):
        engine.stream(Room(None, 5, budget=3))


def test_an_error_ends_the_stream_as_the_engine_sent_it() -> None:
    failing = [*FIRST[:3], *sse({"error": {"message": "out of memory"}})]
    engine = Engine(RawReply(*failing))
    assert engine.stream(ROOM) == b"".join(failing)


@pytest.mark.parametrize(
    "delta", [{"content": "It is "}, {"tool_calls": [{"index": 0, "id": "t1"}]}]
)
def test_text_that_the_smaller_limit_has_cut_is_continued_and_a_call_is_not(
    delta: dict[str, Any],
) -> None:
    first = sse(*THOUGHTS, event(delta), finish(), {"choices": [], "usage": usage(15, 4)}, DONE)
    engine = Engine(RawReply(*first), RawReply(*SECOND))
    sent = engine.stream(Room(20, 5, initial_limit=15), max_tokens=20)
    if "content" in delta:
        assert text(sent) == "It is 5"
        assert [body["max_tokens"] for body in engine.bodies] == [15, 5]
        assert engine.bodies[1]["messages"][-1]["content"].endswith("</think>\n\nIt is ")
    else:
        assert sent == b"".join(first)
        assert len(engine.bodies) == 1


@pytest.mark.parametrize("field", ["content", "reasoning"])
def test_text_in_the_event_of_its_end_is_sent_once(field: str) -> None:
    """As vLLM sends the last token of an answer that `max_tokens` ends."""
    last = event({field: "well "})
    last["choices"][0] |= {"finish_reason": "length", "logprobs": {"content": [1]}}
    last["usage"] = usage(15, 4)
    for answers in ([RawReply(*SECOND)], [RawReply(status=500)]):
        engine = Engine(RawReply(*sse(*THOUGHTS, last, DONE)), *answers)
        sent = engine.stream(Room(20, 5, initial_limit=15), max_tokens=20)
        is_continued = answers[0].status == 200
        expected = "hm hm hm hm " + "well " * (field == "reasoning")
        assert text(sent, "reasoning").startswith(expected)
        assert text(sent, "reasoning").count("well ") == (field == "reasoning")
        assert text(sent) == "well " * (field == "content") + "5" * is_continued
        assert sent.count(b'"length"') == (not is_continued)
        assert sent.count(b'"logprobs":{') == 1
        assert engine.booked == []


@pytest.mark.parametrize("reason", ["length", "stop"])
@pytest.mark.parametrize("is_for_thinking", [False, True])
def test_tokens_without_any_text_were_thoughts(is_for_thinking: bool, reason: str) -> None:
    """The first tokens of a reasoning block may have no text: a tag, a line break."""
    room = Room(3, 2, initial_limit=1, is_for_thinking=is_for_thinking)
    first = sse(THOUGHTS[0], finish(reason), {"choices": [], "usage": usage(1)}, DONE)
    engine = Engine(RawReply(*first), RawReply(*SECOND))
    sent = engine.stream(room, max_tokens=3)
    if is_for_thinking:
        assert text(sent) == "5"
        assert engine.bodies[1]["max_tokens"] == 2
    else:
        assert sent == b"".join(first)


def test_an_answer_without_thoughts_that_the_smaller_limit_has_cut_is_continued() -> None:
    first = sse(THOUGHTS[0], event({"content": "It is "}), finish(), DONE)
    engine = Engine(RawReply(*first), RawReply(*SECOND))
    assert text(engine.stream(Room(20, 5, initial_limit=15), max_tokens=20)) == "It is 5"
    assert engine.bodies[1]["messages"][-1]["content"] == "It is "


def test_an_answer_that_ends_by_itself_passes_unchanged() -> None:
    last = event({"content": "5"})
    last["choices"][0]["finish_reason"] = "stop"
    first = sse(*THOUGHTS, last, DONE)
    assert Engine(RawReply(*first)).stream(Room(20, 5, initial_limit=15)) == b"".join(first)


BROKEN = EngineFailed("the engine closed the connection before its answer was complete")


@pytest.mark.parametrize("by_sink", [False, True])
def test_both_requests_are_booked_where_the_second_breaks(by_sink: bool) -> None:
    engine = Engine(RawReply(*FIRST), RawReply(SECOND[0], SECOND[0], BROKEN))
    with pytest.raises(EngineFailed):
        engine.stream(ROOM, by_sink)
    assert engine.booked == [Usage(3, 4 + 2, 4)]


def test_both_requests_are_booked_where_no_usage_tells_their_tokens() -> None:
    whole = Engine(RawReply(*FIRST), RawReply(*SECOND))
    assert text(whole.stream(ROOM)) == "5"
    assert whole.booked == []
    left = Engine(RawReply(*FIRST), RawReply(*SECOND))
    left.stream(ROOM, leaves=b'"5"')
    silent = Engine(RawReply(*FIRST), RawReply(*SECOND[:2], SECOND[3]))
    silent.stream(ROOM)
    assert left.booked == [Usage(3, 4 + 1, 4)]
    assert silent.booked == [Usage(3, 4 + 3, 4)], "its two last events are counted as well"


def test_thoughts_that_were_cut_are_booked_where_the_engine_does_not_go_on() -> None:
    endless = sse(*[event({"reasoning": "and "})] * 50)
    engine = Engine(RawReply(*endless), RawReply(status=500))
    with pytest.raises(EngineFailed, match="did not go on"):
        engine.stream(Room(None, 5, budget=3))
    assert engine.booked == [Usage(0, 3, 3)]


def whole(engine: Engine, api: Any, **body: Any) -> dict[str, Any]:
    """What a client gets that does not stream."""
    for reply in engine.replies:
        reply.is_stream = False
    body = {"messages": [{"role": "user", "content": "2 + 3?"}], "input": "2 + 3?", **body}
    reply = ContinuedReply(engine.post, body, api, RESUME, ROOM, count_words)
    asyncio.run(reply.begin())
    return json.loads(asyncio.run(reply.read()))


def test_a_second_request_without_an_answer_is_paid_too() -> None:
    message = {"reasoning": "hm hm", "content": None}
    chat_answer = {"choices": [{"index": 0, "message": message, "finish_reason": "length"}]}
    replies = [json.dumps({**chat_answer, "usage": usage(4, 4)}).encode()] * 2
    answer = whole(Engine(*map(RawReply, replies)), chat)
    assert answer["usage"]["completion_tokens"] == 8
    end = response_end("incomplete", THOUGHT, 20)["response"]
    blank = {**end, "output": []}
    replies = [json.dumps(fields).encode() for fields in (end, blank)]
    assert whole(Engine(*map(RawReply, replies)), responses)["usage"]["output_tokens"] == 40
    content = [{"type": "thinking", "thinking": "hm"}]
    fields = {"content": content, "stop_reason": "max_tokens", "usage": {"output_tokens": 4}}
    replies = [json.dumps(fields).encode(), json.dumps({**fields, "content": []}).encode()]
    assert whole(Engine(*map(RawReply, replies)), messages)["usage"]["output_tokens"] == 8


ODD: list[Any] = [None, [], {}, {"choices": None}, {"output": "x"}, {"output": [None, {"type": 3}]}]


@pytest.mark.parametrize("api", [chat, responses, messages])
@pytest.mark.parametrize(
    "body",
    [
        *ODD,
        {"content": [None, {"type": "thinking", "thinking": 4}]},
        {"content": [{"type": "thinking", "thinking": "hm"}], "stop_reason": ["max_tokens"]},
        {"choices": [{"message": {"reasoning": "hm"}, "finish_reason": ["length"]}]},
    ],
)
def test_odd_whole_answers_pass_unchanged(api: Any, body: Any) -> None:
    raw = json.dumps(body).encode() + b' "length" "incomplete" "max_tokens"'[:0]
    whole = RawReply(raw)
    whole.is_stream = False
    engine = Engine(whole)
    reply = ContinuedReply(engine.post, {"messages": [{}]}, api, RESUME, ROOM, count_words)
    asyncio.run(reply.begin())
    assert asyncio.run(reply.read()) == raw


ODD_EVENTS: list[Any] = [
    {"type": None},
    {"type": "message_delta", "delta": None},
    {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": "many"},
    {"type": "content_block_start", "content_block": 5},
    {"type": "content_block_delta", "delta": {"text": 5}},
    {"type": "response.completed", "response": None},
    {"type": "response.incomplete", "response": {"status": "incomplete", "output": [1]}},
    {"type": "response.output_item.added", "item": None},
    {"choices": [{"delta": None, "finish_reason": "length"}]},
    {"choices": [{"delta": {"content": 7}, "finish_reason": ["x"]}]},
    {"choices": [{"delta": {}, "finish_reason": ["x"]}], "error": {}},
    {"type": "message_delta", "delta": {"stop_reason": ["max_tokens"]}},
]


@pytest.mark.parametrize("api", [chat, responses, messages])
@pytest.mark.parametrize("odd", ODD_EVENTS)
def test_odd_events_pass_unchanged(api: Any, odd: Any) -> None:
    stream = sse(odd)
    engine = Engine(RawReply(*stream), RawReply(status=500))
    assert engine.stream(ROOM, api=api, input="2 + 3?") == b"".join(stream)


THOUGHT = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm hm"}]}
ANSWER = {"type": "message", "content": [{"type": "output_text", "text": "5"}]}


def response_end(status: str, item: Any, tokens: int, **fields: Any) -> dict[str, Any]:
    used = {"input_tokens": 10, "output_tokens": tokens}
    response = {"id": f"resp_{tokens}", "status": status, "output": [item], "usage": used, **fields}
    return {"type": f"response.{status}", "response": response}


def of_responses(*ends: dict[str, Any], number: Any = 0) -> tuple[Engine, list[Any]]:
    """What a client of the Responses API gets of streams that end so, after one event."""
    opening = {"type": "response.created", "response": {"id": "r"}, "sequence_number": number}
    engine = Engine(*(RawReply(*sse(opening, end)) for end in ends))
    sent = engine.stream(ROOM, api=responses, input="2 + 3?")
    return engine, [payload(part) for part in split(sent)]


@pytest.mark.parametrize(("number", "next_number"), [(0, 1), (None, 0), ("7", 0), ([7], 0)])
def test_events_with_odd_numbers_are_continued(number: Any, next_number: int) -> None:
    ends = response_end("incomplete", THOUGHT, 20), response_end("completed", ANSWER, 3)
    _, events = of_responses(*ends, number=number)
    assert events[-1]["response"]["output"][1]["content"][0]["text"] == "5"
    assert events[-1]["sequence_number"] == next_number


ADDED = {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning"}}
SUMMARY = {"type": "summary_text", "text": "hm hm"}


@pytest.mark.parametrize("kind", ["reasoning_text", "reasoning_summary_text"])
@pytest.mark.parametrize("item", [ADDED, {}])
@pytest.mark.parametrize(
    "last",
    [
        {"status": "completed", "output": []},
        {"status": "incomplete", "output": []},
        {"status": "completed"},
        {"status": "completed", "output": None},
        {"status": "in_progress"},
        {"status": "completed", "output": [{"type": "reasoning", "summary": []}]},
        {"status": "completed", "output": [{"type": "message", "content": []}]},
        None,
    ],
)
def test_thoughts_that_only_the_stream_has_are_continued(
    last: dict[str, Any] | None, item: dict[str, Any], kind: str
) -> None:
    delta = {"type": f"response.{kind}.delta", "output_index": 0, "delta": "hm "}
    opening = {"type": "response.created", "response": {"id": "r", "status": "in_progress"}}
    end = {"type": "response.completed", "response": last and {"id": "r", **last}}
    first = sse(opening, *([item] if item else []), delta, delta, end)
    second = sse(
        {**ADDED, "item": {"type": "message"}},
        {"type": "response.output_text.delta", "output_index": 0, "delta": "5"},
        response_end("completed", ANSWER, 3),
    )
    engine = Engine(RawReply(*first), RawReply(*second))
    sent = engine.stream(ROOM, api=responses, input="2 + 3?")
    events = [payload(part) or {} for part in split(sent)]
    asked = engine.bodies[1]["input"][-1]["content"][0]["text"]
    assert asked.startswith("<think>\nhm")
    deltas = [fields["delta"] for fields in events if "output_text.delta" in fields["type"]]
    assert deltas == ["5"]
    reasoning, *_, message = events[-1]["response"]["output"]
    assert (reasoning["type"], message["content"][0]["text"]) == ("reasoning", "5")
    added = [fields for fields in events if fields["type"] == "response.output_item.added"]
    assert added[-1]["output_index"] >= 1
    done = [fields for fields in events if fields["type"] == "response.output_item.done"]
    assert [fields["output_index"] for fields in done] == ([0] if item else [])
    assert events[-1]["response"]["status"] == "completed"
    assert events[-1]["response"]["usage"]["output_tokens"] == 2 + 3


@pytest.mark.parametrize("tokens", [14, 15])
def test_an_engine_need_not_say_that_its_limit_has_cut_an_answer(tokens: int) -> None:
    """llama.cpp calls every response completed."""
    half = {"type": "message", "content": [{"type": "output_text", "text": "It is "}]}
    delta = {"type": "response.output_text.delta", "output_index": 1, "delta": "It is "}
    end = response_end("completed", THOUGHT, tokens)
    end["response"]["output"].append(half)
    second = response_end("completed", ANSWER, 3)
    engine = Engine(RawReply(*sse(delta, end)), RawReply(*sse(second)))
    sent = engine.stream(Room(20, 5, initial_limit=15), api=responses, input="2 + 3?")
    assert len(engine.bodies) == (2 if tokens == 15 else 1)
    assert (b'"text":"5"' in sent.replace(b'": ', b'":')) == (tokens == 15)


def test_a_response_whose_thinking_was_cut_goes_on_with_its_thoughts() -> None:
    delta = {"type": "response.reasoning_text.delta", "output_index": 0, "delta": "hm "}
    opening = {"type": "response.created", "response": {"id": "r", "status": "in_progress"}}
    second = response_end("completed", ANSWER, 3)
    engine = Engine(RawReply(*sse(opening, ADDED, *[delta] * 50)), RawReply(*sse(second)))
    engine.stream(Room(None, 5, budget=3), api=responses, input="2 + 3?")
    asked = engine.bodies[1]["input"][-1]["content"][0]["text"]
    assert asked.startswith("<think>\nhm hm hm\nThat is all")


def test_a_continuation_that_fails_has_the_account_of_both_requests() -> None:
    ends = response_end("incomplete", THOUGHT, 20), response_end("failed", ANSWER, 3)
    _, events = of_responses(*ends)
    response = events[-1]["response"]
    assert (response["id"], response["status"]) == ("resp_20", "failed")
    assert response["usage"]["output_tokens"] == 23


def test_what_a_filter_ended_is_not_continued() -> None:
    reason = {"reason": "content_filter"}
    end = response_end("incomplete", THOUGHT, 20, incomplete_details=reason)
    engine, events = of_responses(end)
    assert (len(engine.bodies), events[-1]) == (1, end)


def test_thoughts_that_filled_the_context_are_continued_on_messages() -> None:
    def stream(kind: str, text: str, reason: str) -> list[bytes]:
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": kind}}
        delta = {"type": "content_block_delta", "index": 0, "delta": {kind: text}}
        delta["delta"] |= {"type": f"{kind}_delta"}
        end = {"type": "message_delta", "delta": {"stop_reason": reason}}
        return sse(block, delta, {**end, "usage": {"output_tokens": 5}}, {"type": "message_stop"})

    full = stream("thinking", "hm hm", "model_context_window_exceeded")
    engine = Engine(RawReply(*full), RawReply(*stream("text", "5", "end_turn")))
    sent = engine.stream(ROOM, api=messages)
    assert b'"text":"5"' in sent
    assert b"model_context" not in sent
