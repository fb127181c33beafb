"""Budgets in two phases, on scripted streams: real engines cannot be made to send these."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from server.engines.answered_reply import answered_reply
from server.engines.budget_support import BudgetSupport
from server.engines.call import Call
from server.engines.continuing.prefix import TRANSITION, closed_block, mentions_open_block
from server.engines.dialect import CHAT, DIALECTS, Name
from server.engines.engine import Engine
from server.engines.reasoning_counter import ReasoningCounter, Tokenize
from server.engines.reply import Sink
from server.engines.two_phase import TwoPhase
from server.engines.usage import Usage
from server.errors import EngineFailed

PROVEN = BudgetSupport("native", True, "", continues=True)
RESUME = {"continue_final_message": True, "add_generation_prompt": False}
DONE = "[DONE]"


SILENCE = Exception("an engine that sends nothing")


class ScriptedReply:
    """An engine's reply with a fixed status and fixed events (JSON objects or data lines).

    An error is raised in its place; SILENCE has no end.
    """

    cut = None

    def __init__(
        self,
        *events: dict[str, Any] | str | Exception,
        status: int = 200,
        is_stream: bool = True,
        retry_after: str | None = None,
    ) -> None:
        self.status, self.is_stream, self.retry_after = status, is_stream, retry_after
        self.begun = self.closed = False
        self._events = [
            event
            if isinstance(event, Exception)
            else f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()
            for event in events
        ]

    async def begin(self) -> None:
        self.begun = True

    async def next_chunk(self) -> bytes:
        assert self.begun
        event = self._events.pop(0) if self._events else b""
        if event is SILENCE:
            await asyncio.sleep(3600)
        if isinstance(event, Exception):
            raise event
        return event

    async def stream_to(self, sink: Sink) -> None:
        raise NotImplementedError

    async def read(self) -> bytes:
        return b"".join(event for event in self._events if isinstance(event, bytes))

    async def aclose(self) -> None:
        self.closed = True


class Recorder:
    """Answers each request with the next of its replies, and keeps the bodies."""

    def __init__(self, *replies: ScriptedReply) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._replies = list(replies)

    def post(self, body: dict[str, Any]) -> ScriptedReply:
        self.bodies.append(body)
        return self._replies[len(self.bodies) - 1]


def event(delta: dict[str, Any], usage: dict[str, Any] | None = None, **fields: Any) -> Any:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    body = {"id": "first", "model": "m", "choices": [choice], **fields}
    return body if usage is None else {**body, "usage": usage}


def usage(completion: int, thinking: int | None = None, prompt: int = 3) -> dict[str, Any]:
    counts: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    if thinking is not None:
        counts["completion_tokens_details"] = {"reasoning_tokens": thinking}
    return counts


def thought(tokens: int, field: str = "reasoning") -> dict[str, Any]:
    """A chunk of reasoning, after which so many tokens are generated."""
    return event({field: "hm "}, usage(tokens))


def answered(finish: str = "stop") -> tuple[dict[str, Any], dict[str, Any], str]:
    """The stream of phase two: an answer, its usage, and the end."""
    choice = {"index": 0, "delta": {"content": "5"}, "finish_reason": finish}
    answer = {"id": "second", "choices": [choice]}
    return answer, {"id": "second", "choices": [], "usage": usage(2, prompt=9)}, DONE


def two_phase(
    engine: Recorder,
    budget: int = 10,
    tokenize: Tokenize | None = None,
    adds_logprobs: bool = False,
    booked: list[Usage] | None = None,
    **fields: Any,
) -> TwoPhase:
    body = {"messages": [{"role": "user", "content": "2 + 3?"}], **fields}
    reserve, book = 4, None if booked is None else booked.append
    return TwoPhase(engine.post, body, budget, RESUME, tokenize, reserve, adds_logprobs, book)


def completed(reply: TwoPhase) -> dict[str, Any]:
    async def main() -> dict[str, Any]:
        await reply.begin()
        return json.loads(await reply.read())

    return asyncio.run(main())


def streamed(reply: TwoPhase) -> list[bytes]:
    """The events of a stream, each in a chunk of its own."""

    async def main() -> list[bytes]:
        chunks: list[bytes] = []

        async def sink(chunk: bytes) -> None:
            chunks.append(chunk)

        await reply.begin()
        assert reply.is_stream and reply.status == 200
        await reply.stream_to(sink)
        assert await reply.next_chunk() == b""
        return chunks

    return asyncio.run(main())


def payloads(chunks: list[bytes]) -> list[Any]:
    """The JSON of each event, or its text where it is not JSON."""
    texts = [chunk.decode().removeprefix("data: ").strip() for chunk in chunks]
    return [json.loads(text) if text.startswith("{") else text for text in texts]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_a_cut_between_two_chunks_is_closed_in_the_engine_s_own_field(field: str) -> None:
    phase_one = ScriptedReply(*(thought(3 * number, field) for number in range(1, 9)))
    reply = two_phase(Recorder(phase_one, ScriptedReply(*answered())))
    answer = completed(reply)
    message = answer["choices"][0]["message"]
    assert reply.cut
    assert message == {"role": "assistant", "content": "5", field: 3 * "hm " + TRANSITION}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["id"] == "first"
    assert answer["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 9 + 2,
        "total_tokens": 3 + 9 + 2,
        "completion_tokens_details": {"reasoning_tokens": 9},
    }


def test_a_message_without_reasoning_has_its_field_as_vllm_has_it() -> None:
    answer = completed(two_phase(Recorder(ScriptedReply(*answered()))))
    message = answer["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "5", "reasoning": None}


def test_a_budget_that_is_not_reached_changes_nothing() -> None:
    phase_one = ScriptedReply(thought(3), *answered())
    engine = Recorder(phase_one)
    reply = two_phase(engine)
    answer = completed(reply)
    assert not reply.cut
    assert answer["choices"][0]["message"]["reasoning"] == "hm "
    assert answer["usage"] == usage(2, prompt=9)
    assert reply.retry_after is None
    assert len(engine.bodies) == 1
    assert phase_one.closed


@pytest.mark.parametrize(("budget", "chunks"), [(0, 0), (1, 1), (3, 3), (4, 4)])
def test_without_usage_each_chunk_of_reasoning_counts_as_a_token(budget: int, chunks: int) -> None:
    reasoning = [event({"reasoning": str(number)}) for number in range(5)]
    reply = two_phase(
        Recorder(
            ScriptedReply(event({"role": "assistant"}), *reasoning), ScriptedReply(*answered())
        ),
        budget,
    )
    answer = completed(reply)
    assert reply.cut
    assert answer["choices"][0]["message"]["reasoning"] == "01234"[:chunks] + TRANSITION
    assert answer["usage"] == usage(chunks + 2, chunks, prompt=0) | {"total_tokens": chunks + 2}


@pytest.mark.parametrize("budget", [6, 7, 8])
def test_reported_thinking_tokens_count_before_completion_tokens(budget: int) -> None:
    chunks = [event({"reasoning": "hm "}, usage(50, thinking)) for thinking in (2, 7)]
    engine = Recorder(ScriptedReply(*chunks, *answered()), ScriptedReply(*answered()))
    reply = two_phase(engine, budget)
    completed(reply)
    assert reply.cut is (budget < 7)


def test_an_answer_is_not_counted_as_thinking() -> None:
    words = [event({"content": "word "}, usage(number)) for number in range(1, 30)]
    reply = two_phase(Recorder(ScriptedReply(*words, *answered())), 3)
    assert completed(reply)["choices"][0]["message"]["content"] == 29 * "word " + "5"
    assert not reply.cut


def test_phase_one_sends_the_client_s_body_and_asks_for_usage() -> None:
    engine = Recorder(ScriptedReply(thought(3), *answered()))
    completed(two_phase(engine, max_tokens=50, temperature=0.5, stream_options={"other": 1}))
    assert engine.bodies == [
        {
            "messages": [{"role": "user", "content": "2 + 3?"}],
            "max_tokens": 50,
            "temperature": 0.5,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }
    ]


def test_phase_two_continues_the_closed_reasoning() -> None:
    phase_one = ScriptedReply(thought(5), thought(10), thought(15))
    engine = Recorder(phase_one, ScriptedReply(*answered()))
    completed(two_phase(engine, temperature=0.5))
    assert engine.bodies[1] == {
        "messages": [
            {"role": "user", "content": "2 + 3?"},
            {"role": "assistant", "content": f"<think>\nhm hm{TRANSITION}\n</think>\n\n"},
        ],
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
        **RESUME,
    }


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(
    ("requested", "remaining"), [(50, 41), (10, 1), (9, 1), (5, 1), (None, None)]
)
def test_both_phases_together_keep_to_the_client_s_max_tokens(
    field: str, requested: int | None, remaining: int | None
) -> None:
    """Phase one has spent 9 of them; an engine takes no max_tokens below 1."""
    phase_one = ScriptedReply(*(thought(3 * number) for number in range(1, 9)))
    engine = Recorder(phase_one, ScriptedReply(*answered()))
    fields: dict[str, Any] = {field: requested}
    completed(two_phase(engine, **fields))
    assert engine.bodies[0][field] == requested
    assert engine.bodies[1][field] == remaining


def test_both_phases_are_a_single_stream() -> None:
    opening = event({"role": "assistant", "content": ""}, usage(0))
    phase_two = ScriptedReply(
        {"id": "second", "created": 7, "choices": [{"index": 0, "delta": {"role": "assistant"}}]},
        {"id": "second", "choices": [{"index": 0, "delta": {"reasoning": "so "}}]},
        {
            "id": "second",
            "choices": [{"index": 0, "delta": {"reasoning_content": "it ", "content": "is"}}],
        },
        {"id": "second", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        *answered()[1:],
    )
    phase_one = ScriptedReply(opening, thought(1), thought(2))
    reply = two_phase(Recorder(phase_one, phase_two), 1, stream=True)
    *events, total, done = payloads(streamed(reply))
    assert events == [
        event({"role": "assistant", "content": ""}),
        event({"reasoning": "hm "}),
        event({"reasoning": TRANSITION}),
        {"id": "first", "model": "m", "created": 7, "choices": [{"index": 0, "delta": {}}]},
        {"id": "first", "model": "m", "choices": [{"index": 0, "delta": {"content": "so "}}]},
        {"id": "first", "model": "m", "choices": [{"index": 0, "delta": {"content": "it is"}}]},
        {
            "id": "first",
            "model": "m",
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        },
    ]
    assert total["id"] == "first"
    assert total["choices"] == []
    assert total["usage"]["total_tokens"] == 3 + 1 + 2
    assert done == DONE
    assert phase_one.closed and phase_two.closed


def test_a_stream_s_final_usage_and_comments_pass_unchanged() -> None:
    keep_alive = ScriptedReply(thought(1), *answered())
    keep_alive._events.insert(1, b": ping\n\n")  # pyright: ignore[reportPrivateUsage]
    chunks = streamed(two_phase(Recorder(keep_alive), stream=True))
    assert chunks[1] == b": ping\n\n"
    assert payloads(chunks)[-2] == answered()[1]
    assert chunks[-1] == b"data: [DONE]\n\n"


def test_the_error_of_an_event_is_not_in_later_events() -> None:
    broken: dict[str, Any] = {
        "id": "first",
        "error": {"message": "x"},
        "choices": [],
        "usage": None,
    }
    phase_one = ScriptedReply(broken, event({"reasoning": "a"}), event({"reasoning": "b"}))
    reply = two_phase(Recorder(phase_one, ScriptedReply(*answered())), 0, stream=True)
    transition = payloads(streamed(reply))[1]
    assert transition == {"id": "first", "choices": event({"reasoning": TRANSITION})["choices"]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "is_stream"), [(429, False), (500, True), (200, False)])
def test_a_refusal_of_phase_one_is_the_reply(status: int, is_stream: bool, stream: bool) -> None:
    refusal = ScriptedReply("no", status=status, is_stream=is_stream, retry_after="37")
    reply = two_phase(Recorder(refusal), stream=stream)

    async def main() -> bytes:
        await reply.begin()
        return await reply.read()

    assert asyncio.run(main()) == b"data: no\n\n"
    assert (reply.status, reply.is_stream, reply.retry_after) == (status, False, "37")
    assert refusal.closed


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "is_stream"), [(400, False), (503, True), (200, False)])
def test_a_refusal_of_phase_two_is_an_engine_failure(
    status: int, is_stream: bool, stream: bool
) -> None:
    refusal = ScriptedReply("no", status=status, is_stream=is_stream)
    reply = two_phase(Recorder(ScriptedReply(thought(3), thought(20)), refusal), stream=stream)
    with pytest.raises(EngineFailed, match=f"after the budget \\(HTTP {status}\\)"):
        streamed(reply) if stream else completed(reply)
    assert refusal.closed


def test_an_engine_that_fails_while_generating_has_failed() -> None:
    failing = ScriptedReply(thought(3), {"error": {"message": "out of memory"}}, DONE)
    with pytest.raises(EngineFailed, match="while generating"):
        completed(two_phase(Recorder(failing)))


def test_a_stream_that_ends_early_is_no_answer() -> None:
    with pytest.raises(EngineFailed, match="before it was complete"):
        completed(two_phase(Recorder(ScriptedReply())))


def test_a_stream_without_events_has_no_bytes() -> None:
    assert streamed(two_phase(Recorder(ScriptedReply()), stream=True)) == []


@pytest.mark.parametrize("events_read", [0, 1, 3])
def test_closing_the_reply_closes_the_engine_s(events_read: int) -> None:
    """Before it has begun, in phase one, and in phase two."""
    phases = ScriptedReply(thought(3), thought(20)), ScriptedReply(*answered())
    reply = two_phase(Recorder(*phases), stream=True)

    async def main() -> None:
        if events_read:
            await reply.begin()
        for _ in range(events_read):
            assert await reply.next_chunk()
        await reply.aclose()

    asyncio.run(main())
    assert [phase.closed for phase in phases] == [events_read > 0, events_read > 1]


async def count_words(text: str) -> int:
    """A tokenizer whose tokens are words."""
    return len(text.split())


async def no_tokenizer(_: str) -> None:
    return None


def three_words(number: int, logprobs: bool = False) -> Any:
    """A chunk of three tokens, in a stream that reports no usage before its end."""
    chunk = event({"reasoning": f"w{number} and then "})
    if logprobs:
        chunk["choices"][0]["logprobs"] = {"content": [{"token": "w"}] * 3}
    return chunk


def cut(tokenize: Tokenize | None, logprobs: bool = False, **fields: Any) -> tuple[TwoPhase, Any]:
    """A budget of 100 tokens on an engine that thinks 120 chunks of three tokens each."""
    chunks = [three_words(number, logprobs) for number in range(120)]
    answer, last, done = answered()
    last["usage"] = usage(2, prompt=7 + 100 + 19)
    engine = Recorder(ScriptedReply(*chunks), ScriptedReply(answer, last, done))
    reply = two_phase(engine, 100, tokenize, **fields)
    return reply, completed(reply)


@pytest.mark.parametrize(
    ("tokenize", "logprobs", "method", "tokens"),
    [
        (count_words, False, "tokenizer", 100),
        (count_words, True, "tokenizer", 100),
        (no_tokenizer, True, "logprobs", 99),
        (None, True, "logprobs", 99),
        (no_tokenizer, False, "estimate", None),
    ],
)
def test_a_chunk_of_several_tokens_counts_as_several(
    tokenize: Tokenize | None, logprobs: bool, method: str, tokens: int | None
) -> None:
    reply, answer = cut(tokenize, logprobs)
    words = len(answer["choices"][0]["message"]["reasoning"].removesuffix(TRANSITION).split())
    details = answer["usage"]["completion_tokens_details"]
    assert reply.cut
    assert reply.method == method
    assert words <= 100
    if tokens is not None:
        assert words == details["reasoning_tokens"] == tokens
        assert answer["usage"]["completion_tokens"] == tokens + 2


@pytest.mark.parametrize("reports_usage", [False, True])
@pytest.mark.parametrize(("tokenize", "kept"), [(count_words, 10), (no_tokenizer, 7), (None, 7)])
def test_the_part_of_a_chunk_that_the_budget_has_room_for_is_kept(
    tokenize: Tokenize | None, kept: int, reports_usage: bool
) -> None:
    words = [f"w{number} " for number in range(12)]
    chunks = []
    for start, end in ((0, 7), (7, 12)):
        text = {"reasoning": "".join(words[start:end])}
        chunk = event(text, usage(end) if reports_usage else None)
        chunk["choices"][0]["logprobs"] = {"content": [{"token": "w"}] * (end - start)}
        chunks.append(chunk)
    engine = Recorder(ScriptedReply(*chunks, DONE), ScriptedReply(*answered()))
    reply = two_phase(engine, 10, tokenize)
    answer = completed(reply)
    assert reply.cut
    assert answer["choices"][0]["message"]["reasoning"] == "".join(words[:kept]) + TRANSITION
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == kept
    assert "".join(words[:kept]).strip() + TRANSITION in engine.bodies[1]["messages"][-1]["content"]


def test_the_prompt_s_tokens_follow_from_phase_two_where_phase_one_was_cut() -> None:
    """They are those of phase two without the reasoning and the 19 words that close it."""
    assert cut(count_words)[1]["usage"]["prompt_tokens"] == 7


def test_few_chunks_are_sent_to_the_tokenizer() -> None:
    counted: list[str] = []

    async def tokenize(text: str) -> int:
        counted.append(text)
        return len(text.split())

    cut(tokenize)
    assert len(counted) < 25


def test_log_probabilities_that_only_the_gateway_requested_are_not_passed_on() -> None:
    engine = Recorder(ScriptedReply(three_words(1, logprobs=True), *answered()))
    chunks = streamed(two_phase(engine, 5, adds_logprobs=True, stream=True))
    assert engine.bodies[0]["logprobs"] is True
    assert all(choice["logprobs"] is None for choice in payloads(chunks)[0]["choices"])
    engine = Recorder(ScriptedReply(three_words(1, logprobs=True), *answered()))
    wanted = completed(two_phase(engine, 5, adds_logprobs=True, logprobs=True))
    assert len(wanted["choices"][0]["logprobs"]["content"]) == 3


def test_a_usage_that_stands_still_is_no_count_of_tokens() -> None:
    chunks = [event({"reasoning": "so "}, usage(0)) for _ in range(20)]
    reply = two_phase(Recorder(ScriptedReply(*chunks), ScriptedReply(*answered())), 10, count_words)
    assert completed(reply)["usage"]["completion_tokens_details"]["reasoning_tokens"] == 10
    assert reply.cut


ODD: list[Any] = [
    {"choices": None},
    {"choices": [None]},
    {"choices": "none"},
    {"choices": [{"index": 0, "delta": None}]},
    {"choices": [{"index": 0, "delta": "text"}]},
    {"choices": [{"index": 0, "delta": {"content": 5, "reasoning": ["a"]}}]},
    {"choices": [{"index": 0, "delta": {}, "logprobs": "x"}]},
    {"choices": [{"index": 1, "delta": {"content": "another choice"}}]},
    {"choices": [], "usage": "many"},
    {"choices": [], "usage": {"prompt_tokens": "3", "completion_tokens": "4"}},
    {"usage": None},
    {},
]


@pytest.mark.parametrize("chunk", ODD, ids=str)
@pytest.mark.parametrize("phase", [1, 2])
@pytest.mark.parametrize("stream", [False, True])
def test_odd_chunks_break_neither_phase(chunk: Any, phase: int, stream: bool) -> None:
    first = [thought(3), thought(20)]
    second: list[Any] = list(answered())
    (first if phase == 1 else second).insert(0, chunk)
    reply = two_phase(Recorder(ScriptedReply(*first), ScriptedReply(*second)), stream=stream)
    if stream:
        assert payloads(streamed(reply))[-1] == DONE
    else:
        answer = completed(reply)
        assert answer["choices"][0]["message"]["content"] == "5"
        assert answer["usage"]["total_tokens"] == 3 + 3 + 2
    assert reply.cut


def test_odd_tool_calls_are_dropped() -> None:
    calls = [None, {"index": 10**9}, {"index": "a"}, {"index": 0, "function": {"name": "add"}}]
    odd = [event({"tool_calls": "x"}), event({"tool_calls": calls})]
    answer = completed(two_phase(Recorder(ScriptedReply(*odd, *answered()))))
    function = {"name": "add", "arguments": ""}
    call = {"id": None, "type": "function", "function": function}
    assert answer["choices"][0]["message"]["tool_calls"] == [call]


@pytest.mark.parametrize("phase", [1, 2])
def test_an_error_in_either_phase_is_the_engine_s_failure(phase: int) -> None:
    first, second = [thought(3), thought(20)], list(answered())
    (first if phase == 1 else second).insert(1, {"error": {"message": "out of memory"}})
    reply = two_phase(Recorder(ScriptedReply(*first), ScriptedReply(*second)))
    with pytest.raises(EngineFailed, match="while generating"):
        completed(reply)


def finished(reason: str, tokens: int) -> tuple[dict[str, Any], dict[str, Any], str]:
    """The end of a phase one that has only thought, for so many tokens."""
    finish = event({})
    finish["choices"][0]["finish_reason"] = reason
    return finish, {"id": "first", "choices": [], "usage": usage(tokens)}, DONE


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("reason", ["length", "stop", "MAX_TOKENS", "eos_token"])
def test_thinking_that_ended_by_itself_still_ends_in_an_answer(reason: str, stream: bool) -> None:
    phase_one = ScriptedReply(thought(3), thought(6), *finished(reason, 7))
    engine = Recorder(phase_one, ScriptedReply(*answered()))
    reply = two_phase(engine, max_tokens=50, stream=stream)
    if stream:
        *events, total, done = payloads(streamed(reply))
        texts = [item["choices"][0]["delta"].get("content") for item in events]
        assert [text for text in texts if text] == ["5"]
        assert [item["choices"][0]["finish_reason"] for item in events][-2:] == [None, "stop"]
        assert done == DONE
    else:
        total = completed(reply)
        assert total["choices"][0]["message"]["content"] == "5"
        assert total["choices"][0]["finish_reason"] == "stop"
    assert total["usage"]["completion_tokens"] == 7 + 2
    assert total["usage"]["prompt_tokens"] == 3
    assert not reply.cut
    assert engine.bodies[1]["max_tokens"] == 50 - 7


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("end", [SILENCE, EngineFailed("the connection broke")])
def test_an_engine_that_falls_silent_or_breaks_off_after_its_thoughts_is_continued(
    end: Exception, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.engines.two_phase.ENDING_SECONDS", 0.05)
    phase_one = ScriptedReply(thought(3), finished("stop", 7)[0], end)
    reply = two_phase(Recorder(phase_one, ScriptedReply(*answered())), stream=stream)
    if stream:
        events = payloads(streamed(reply))[:-1]
        texts = [choice["delta"].get("content") for item in events for choice in item["choices"]]
        assert [text for text in texts if text] == ["5"]
    else:
        assert completed(reply)["choices"][0]["message"]["content"] == "5"


def test_thoughts_in_the_event_of_their_end_are_sent() -> None:
    last = thought(7)
    last["choices"][0]["finish_reason"] = "length"
    engine = Recorder(ScriptedReply(thought(3), last, DONE), ScriptedReply(*answered()))
    events = payloads(streamed(two_phase(engine, max_tokens=7, stream=True)))[:-1]
    deltas = [choice["delta"] for item in events for choice in item["choices"]]
    assert "".join(delta.get("reasoning", "") for delta in deltas) == "hm hm " + TRANSITION
    finishes = [choice["finish_reason"] for item in events for choice in item["choices"]]
    assert [finish for finish in finishes if finish] == ["stop"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("budget", [5, 10])
def test_both_phases_are_booked_where_the_second_breaks(budget: int, stream: bool) -> None:
    """Whether the budget has cut the first (after 3 tokens) or it has ended by itself."""
    booked: list[Usage] = []
    phase_one = ScriptedReply(thought(3), thought(6), *finished("stop", 7))
    broken = ScriptedReply(answered()[0], EngineFailed("the connection broke"))
    reply = two_phase(Recorder(phase_one, broken), budget, booked=booked, stream=stream)
    with pytest.raises(EngineFailed):
        (streamed if stream else completed)(reply)
    first = 3 if budget == 5 else 7
    assert booked == [Usage(3, first + 1, first)]


def test_a_phase_one_that_was_cut_is_booked_where_the_engine_does_not_go_on() -> None:
    booked: list[Usage] = []
    engine = Recorder(ScriptedReply(thought(3), thought(6)), ScriptedReply("no", status=500))
    with pytest.raises(EngineFailed):
        completed(two_phase(engine, 5, booked=booked))
    assert booked == [Usage(3, 3, 3)]


def test_nothing_is_booked_that_a_usage_reports() -> None:
    booked: list[Usage] = []
    for second in (ScriptedReply(*answered()), ScriptedReply("no", status=400, is_stream=False)):
        phase_one = ScriptedReply(thought(3), *finished("length", 7))
        answer = completed(two_phase(Recorder(phase_one, second), booked=booked))
        assert answer["usage"]["completion_tokens"] in (7, 9)
    assert booked == []


def test_a_full_context_is_given_room_for_the_answer() -> None:
    phase_one = ScriptedReply(thought(4), thought(8), *finished("length", 8))
    engine = Recorder(phase_one, ScriptedReply(*answered()))
    completed(two_phase(engine))
    prefix = engine.bodies[1]["messages"][-1]["content"]
    assert prefix == f"<think>\nhm{TRANSITION}\n</think>\n\n"


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_cannot_continue_leaves_its_own_end(stream: bool) -> None:
    phase_one = ScriptedReply(thought(3), *finished("length", 7))
    refusal = ScriptedReply("no", status=400, is_stream=False)
    reply = two_phase(Recorder(phase_one, refusal), stream=stream)
    if stream:
        assert payloads(streamed(reply))[1:] == list(finished("length", 7))
    else:
        answer = completed(reply)
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["usage"] == usage(7)


def test_an_engine_that_cannot_be_reached_again_leaves_its_own_end() -> None:
    class Unreachable(ScriptedReply):
        async def begin(self) -> None:
            raise EngineFailed("the connection broke")

    phase_one = ScriptedReply(thought(3), *finished("length", 7))
    reply = two_phase(Recorder(phase_one, Unreachable()), stream=True)
    assert payloads(streamed(reply))[1:] == list(finished("length", 7))


def test_the_end_that_an_engine_keeps_has_no_running_usage_and_nothing_after_done() -> None:
    finish, total, done = finished("length", 7)
    running = {**event({}), "usage": usage(7)}
    phase_one = ScriptedReply(thought(3), finish, running, total, done, EngineFailed("too late"))
    refusal = ScriptedReply("no", status=400, is_stream=False)
    events = payloads(streamed(two_phase(Recorder(phase_one, refusal), stream=True)))
    assert events[1:] == [finish, event({}), total, done]


def test_an_answer_in_the_chunk_of_the_last_thought_is_not_continued() -> None:
    both = event({"reasoning": "hm ", "content": "5"}, usage(6))
    engine = Recorder(ScriptedReply(thought(3), both, *finished("length", 7)))
    assert completed(two_phase(engine))["choices"][0]["finish_reason"] == "length"
    assert len(engine.bodies) == 1


@pytest.mark.parametrize(
    ("tokenize", "logprobs", "reported", "thinking"),
    [
        (count_words, False, None, 3),
        (None, True, None, 3),
        (count_words, False, 2, 2),
        (None, False, None, None),  # an estimate is no count
    ],
)
def test_a_usage_that_tells_no_thinking_gets_what_the_gateway_counted(
    tokenize: Tokenize | None, logprobs: bool, reported: int | None, thinking: int | None
) -> None:
    total = {"id": "first", "choices": [], "usage": usage(5, reported)}
    phase_one = ScriptedReply(three_words(1, logprobs), event({"content": "5"}), total, DONE)
    *_, last, _ = payloads(streamed(two_phase(Recorder(phase_one), 10, tokenize, stream=True)))
    assert last == {**total, "usage": usage(5, thinking)}


def test_no_more_thinking_is_told_than_tokens_were_generated() -> None:
    total = {"id": "first", "choices": [], "usage": usage(2)}
    phase_one = ScriptedReply(three_words(1), event({"content": "5"}), total, DONE)
    *_, last, _ = payloads(streamed(two_phase(Recorder(phase_one), 10, count_words, stream=True)))
    assert last["usage"] == usage(2, 2)


def test_thinking_that_phase_one_reports_is_that_of_both() -> None:
    finish, total, done = finished("stop", 9)
    total["usage"] = usage(9, 6)
    engine = Recorder(ScriptedReply(thought(3), finish, total, done), ScriptedReply(*answered()))
    counts = completed(two_phase(engine))["usage"]
    assert counts["completion_tokens_details"]["reasoning_tokens"] == 6
    assert counts["completion_tokens"] == 9 + 2


def test_each_event_of_a_second_phase_that_breaks_is_booked_as_a_token() -> None:
    booked: list[Usage] = []
    words = [answered()[0]] * 3
    broken = ScriptedReply(*words, EngineFailed("the connection broke"))
    phase_one = ScriptedReply(*(three_words(number) for number in range(9)))
    with pytest.raises(EngineFailed):
        completed(two_phase(Recorder(phase_one, broken), 10, count_words, booked=booked))
    (spent,) = booked
    assert (spent.prompt, spent.completion) == (0, 10 + 3)  # the first reported no prompt


@pytest.mark.parametrize("answer", [{"content": "5"}, {"tool_calls": [{"index": 0, "id": "t"}]}])
def test_an_answer_that_was_cut_is_not_continued(answer: dict[str, Any]) -> None:
    phase_one = ScriptedReply(thought(3), event(answer), *finished("length", 7))
    engine = Recorder(phase_one)
    assert completed(two_phase(engine))["choices"][0]["finish_reason"] == "length"
    assert len(engine.bodies) == 1


def test_a_message_that_the_client_has_begun_stays_one_message() -> None:
    resumed: dict[str, Any] = dict(RESUME)
    messages = [{"role": "user", "content": "2 + 3?"}, {"role": "assistant", "content": "Well. "}]
    engine = Recorder(ScriptedReply(thought(3), thought(20)), ScriptedReply(*answered()))
    completed(two_phase(engine, messages=messages, min_tokens=30, max_tokens=20, **resumed))
    begun = engine.bodies[1]["messages"]
    assert [message["role"] for message in begun] == ["user", "assistant"]
    assert begun[1]["content"].startswith("Well. <think>\nhm")
    assert engine.bodies[1]["min_tokens"] == engine.bodies[1]["max_tokens"] == 17


@pytest.mark.parametrize(
    ("texts", "opens"),
    [
        (["What is <think>?"], True),
        ([[{"type": "text", "text": "What is <think>?"}]], True),
        (["<think>a</think> is a block, <think> opens it"], True),
        (["What is <think>?", "A tag.", "Thanks"], True),
        (["What is <think>?", "It goes with </think>.", "Thanks"], False),
        (["<think>a</think>"], False),
        (["What is it?"], False),
        ([None], False),
        ([], False),
    ],
)
def test_a_tag_that_a_message_mentions_opens_a_block_for_some_engines(
    texts: list[Any], opens: bool
) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    assert mentions_open_block(messages) is opens
    assert not mentions_open_block([*messages, {"role": "assistant", "content": "<think>so"}])


@pytest.mark.parametrize(
    ("text", "support", "is_two_phase"),
    [
        ("What is <think>?", PROVEN, True),
        ("What is it?", PROVEN, False),
        ("What is <think>?", replace(PROVEN, continues=False), False),
        ("What is <think>?", replace(PROVEN, proven=False), False),
    ],
)
def test_an_engine_that_counts_a_part_of_the_prompt_gets_no_budget(
    text: str, support: BudgetSupport, is_two_phase: bool
) -> None:
    def write(budget: int | None) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": text}], "thinking_token_budget": budget}

    async def in_two_phases(name: Name, thinks: bool) -> bool:
        engine = Engine("http://127.0.0.1:9", None, 1)
        engine.budget_support = support
        call = Call(CHAT, {}, write, budget=20, thinks=thinks)
        return isinstance(answered_reply(engine, call, DIALECTS[name]), TwoPhase)

    assert asyncio.run(in_two_phases("vllm", thinks=True)) is is_two_phase
    assert not asyncio.run(in_two_phases("vllm", thinks=False))
    assert not asyncio.run(in_two_phases("sglang", thinks=True))


def test_log_probabilities_to_count_by_are_not_asked_of_phase_two() -> None:
    chunks = [three_words(number, logprobs=True) for number in range(4)]
    engine = Recorder(ScriptedReply(*chunks), ScriptedReply(*answered()))
    completed(two_phase(engine, 5, adds_logprobs=True))
    assert ["logprobs" in body for body in engine.bodies] == [True, False]


def test_the_prompt_of_phase_two_tells_thinking_that_was_estimated() -> None:
    """A stream of chunks with several tokens each, after one usage at its beginning."""
    begun = event({"role": "assistant"}, usage(0, prompt=7))
    chunks = [three_words(number) for number in range(12)]
    answer, last, done = answered()
    closing = asyncio.run(ReasoningCounter(10, None).count(closed_block("")))
    last["usage"] = usage(2, prompt=7 + 36 + closing)
    engine = Recorder(ScriptedReply(begun, *chunks), ScriptedReply(answer, last, done))
    reply = two_phase(engine, 10)
    total = completed(reply)["usage"]
    assert reply.method == "estimate"
    assert total["completion_tokens_details"]["reasoning_tokens"] == 36
    assert (total["prompt_tokens"], total["completion_tokens"]) == (7, 38)
