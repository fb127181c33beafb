"""Thinking tokens of an engine that reports none: counted by its tokenizer, on every API."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from server.engines.counted_reply import CountedReply
from server.engines.dialect import CHAT, MESSAGES, RESPONSES
from server.engines.reply import give
from server.http.sse import encode, payload, split


class Scripted:
    """A reply of these chunks, or of one whole body."""

    status, retry_after, cut = 200, None, None

    def __init__(self, *chunks: bytes, is_stream: bool = True) -> None:
        self.chunks, self.is_stream = list(chunks), is_stream

    async def begin(self) -> None: ...

    async def next_chunk(self) -> bytes:
        return self.chunks.pop(0) if self.chunks else b""

    async def stream_to(self, sink: Any) -> None:
        while chunk := await self.next_chunk():
            await give(sink, chunk)

    async def read(self) -> bytes:
        return b"".join(self.chunks)

    async def aclose(self) -> None: ...


async def words(text: str) -> int | None:
    asyncio.current_task().get_name()  # type: ignore[union-attr] - as an HTTP client needs a task
    return len(text.split())


async def no_tokenizer(text: str) -> None: ...


def counted(reply: Scripted, path: str, choices: int = 1, count: Any = words) -> bytes:
    async def run() -> bytes:
        counted_reply = CountedReply(reply, path, count, choices)
        await counted_reply.begin()
        if not reply.is_stream:
            return await counted_reply.read()
        received: list[bytes] = []

        async def sink(chunk: bytes) -> None:
            received.append(chunk)

        await counted_reply.stream_to(sink)
        return b"".join(received)

    return asyncio.run(run())


def delta(index: Any = 0, **fields: str) -> bytes:
    return encode({"choices": [{"index": index, "delta": fields}]})


def usage(completion: int, prompt: int = 5) -> dict[str, Any]:
    tokens = {"prompt_tokens": prompt, "completion_tokens": completion}
    return {"usage": {**tokens, "total_tokens": prompt + completion}}


def bodies(raw: bytes) -> list[dict[str, Any]]:
    return [body for event in split(raw) if (body := payload(event))]


THOUGHTS = [delta(reasoning_content=f"a{number}\\n ") for number in range(20)]
CHAT_STREAM = [
    *THOUGHTS,
    delta(content='He said "thinking" and "usage"'),
    encode({"choices": [], **usage(25)}),
    b"data: [DONE]\n\n",
]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_stream_of_chat_completions(size: int) -> None:
    raw = b"".join(CHAT_STREAM)
    chunks = CHAT_STREAM if size > 1000 else [raw[i : i + size] for i in range(0, len(raw), size)]
    sent = bodies(counted(Scripted(*chunks), CHAT))
    assert sent[:-1] == bodies(raw)[:-1]
    assert sent[-1]["usage"] == usage(25)["usage"] | {
        "completion_tokens_details": {"reasoning_tokens": 20}
    }


def test_events_of_thoughts_pass_as_they_are() -> None:
    raw = counted(Scripted(*CHAT_STREAM), CHAT)
    assert raw.startswith(b"".join(CHAT_STREAM[:-2]))


def test_usage_of_every_choice_of_a_stream_is_one_sum() -> None:
    chunks = [
        delta(0, reasoning_content="a b "),
        delta(1, reasoning_content="c d e "),
        delta(1, content="x"),
        encode({"choices": [], **usage(6)}),
        delta(0, content="y"),
        encode({"choices": [], **usage(4)}),
    ]
    (final,) = [body for body in bodies(counted(Scripted(*chunks), CHAT, 2)) if "usage" in body]
    assert final["usage"] == usage(10)["usage"] | {
        "completion_tokens_details": {"reasoning_tokens": 5}
    }


@pytest.mark.parametrize("index", [None, "0", [], [7]])
def test_thoughts_of_an_odd_choice_are_counted(index: Any) -> None:
    thought, final = delta(index, reasoning="a b c"), encode({"choices": [], **usage(6)})
    (*_, last) = bodies(counted(Scripted(thought, final), CHAT))
    assert last["usage"]["completion_tokens_details"] == {"reasoning_tokens": 3}


def choice(reasoning: str, content: str) -> dict[str, Any]:
    return {"message": {"reasoning_content": reasoning, "content": content}}


@pytest.mark.parametrize(
    ("choices", "completion", "expected", "thinking"),
    [
        ([choice("a b c", "x")], 6, 6, 3),
        ([choice("", "x")], 2, 2, 0),
        ([choice("a b c d", "")], 3, 3, 3),  # as the text is tokenised anew
        ([choice("a b c", "x"), choice("d", "y z")], 6, 6 + 5, 4),
        ([choice("a b c", "x"), choice("d", "y z")], 11, 11, 4),  # an engine that counts them all
    ],
)
def test_whole_chat_completions(
    choices: Sequence[Any], completion: int, expected: int, thinking: int
) -> None:
    answer = json.dumps({"choices": choices, **usage(completion)}).encode()
    counts = json.loads(counted(Scripted(answer, is_stream=False), CHAT))["usage"]
    assert counts["completion_tokens"] == expected
    assert counts["total_tokens"] == 5 + expected
    assert counts["completion_tokens_details"]["reasoning_tokens"] == thinking


MESSAGE = {"input_tokens": 5, "output_tokens": 9}
RESPONSE = {
    "output": [{"type": "reasoning", "content": [{"text": "a b "}, {"text": "c"}]}],
    "usage": MESSAGE,
}


@pytest.mark.parametrize(
    ("path", "chunks", "key"),
    [
        (
            MESSAGES,
            [
                encode({"type": "message_start", "message": {"usage": MESSAGE}}, "message_start"),
                encode({"type": "content_block_delta", "delta": {"thinking": "a b "}}, "delta"),
                encode({"type": "content_block_delta", "delta": {"thinking": "c"}}, "delta"),
                encode({"type": "message_delta", "usage": MESSAGE}, "message_delta"),
            ],
            "thinking_tokens",
        ),
        (
            RESPONSES,
            [
                encode({"type": "response.created", "response": {"output": []}}, "created"),
                encode({"type": "response.completed", "response": RESPONSE}, "completed"),
            ],
            "reasoning_tokens",
        ),
    ],
)
def test_streams_of_the_newer_apis(path: str, chunks: list[bytes], key: str) -> None:
    raw = counted(Scripted(*chunks), path)
    body = bodies(raw)[-1]
    counts = body.get("response", body)["usage"]
    assert counts == MESSAGE | {"output_tokens_details": {key: 3}}
    assert split(raw)[:-1] == chunks[:-1]
    assert split(raw)[-1].splitlines()[0] == chunks[-1].splitlines()[0]


def test_whole_answers_of_the_newer_apis() -> None:
    message = {"content": [{"type": "thinking", "thinking": "a b c"}], "usage": MESSAGE}
    for path, answer, key in (
        (MESSAGES, message, "thinking_tokens"),
        (RESPONSES, RESPONSE, "reasoning_tokens"),
    ):
        whole = Scripted(json.dumps(answer).encode(), is_stream=False)
        assert json.loads(counted(whole, path))["usage"]["output_tokens_details"] == {key: 3}


def test_what_the_engine_reports_or_cannot_count_is_left_alone() -> None:
    reported = usage(9)
    reported["usage"]["completion_tokens_details"] = {"reasoning_tokens": 7}
    for count, fields in ((words, reported), (no_tokenizer, usage(9))):
        chunks = [delta(reasoning_content="a b"), encode({"choices": [], **fields})]
        assert counted(Scripted(*chunks), CHAT, count=count) == b"".join(chunks)
        answer = json.dumps({"choices": [choice("a b", "x")], **fields}).encode()
        sent = counted(Scripted(answer, is_stream=False), CHAT, count=count)
        assert json.loads(sent) == json.loads(answer)
