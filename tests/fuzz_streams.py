"""Random chat streams as engines write them, each with what a client must see of it.

A script is a pure function of its seed: the same events, line ends and segments every time. Left
out is what the OpenAI client, by which they are read, cannot read: a byte order mark, and events
that have an id and no data.
"""

import json
import random
from dataclasses import dataclass, field
from typing import Any, Literal

Ending = Literal["complete", "failed", "cut"]
_WORDS = (
    "so",
    "12 + 30",
    "\n\n",
    "data: x",
    "é",
    "数",
    "🙂",
    "[DONE]",
    "\u2028",
    '{"a": 1}',
    ": ping",
)


@dataclass
class StreamScript:
    """One stream.

    Attributes:
        segments: the bytes of its body, as they are written to the socket.
        reasoning, content: the text by choice; of a stream that is not complete, up to its end.
        finish: the finish reason by choice.
        usage: thinking and answer tokens that the engine reports; None where it reports none.
        ending: complete, failed by an error of the engine, or cut off without a finish.
        choices: how many answers the request asks for.
        include_usage: whether the request asks for usage.
    """

    segments: list[bytes]
    ending: Ending
    choices: int
    include_usage: bool
    usage: tuple[int, int] | None
    reasoning: dict[int, str] = field(default_factory=dict[int, str])
    content: dict[int, str] = field(default_factory=dict[int, str])
    finish: dict[int, str] = field(default_factory=dict[int, str])


def stream_script(seed: int) -> StreamScript:
    rng = random.Random(seed)
    choices = 1 if rng.random() < 0.85 else 2
    thinking, answer = rng.randrange(400), rng.randrange(1, 90)
    reports = rng.choice(("none", "separate", "separate", "with finish", "running"))
    usage = None if reports == "none" else (thinking, answer)
    ending = rng.choices(("complete", "failed", "cut"), (8, 1, 1))[0]
    script = StreamScript([], ending, choices, rng.random() < 0.5, usage)
    chunks = _text_chunks(rng, script)
    if ending == "complete":
        chunks += _finish_chunks(rng, script)
        if usage and reports == "with finish":
            chunks[-1]["usage"] = _usage(thinking, answer)
        if usage and reports in ("separate", "running"):
            chunks.append({"choices": [], "usage": _usage(thinking, answer)})
    if reports == "running":
        for number, chunk in enumerate(chunks[:-1]):
            chunk["usage"] = _usage(min(number, thinking), 0)
    common = {"id": f"c-{seed}", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    payloads = [
        json.dumps({**common, **chunk}, ensure_ascii=rng.random() < 0.5) for chunk in chunks
    ]
    script.segments = _segments(rng, _wire(rng, payloads, ending, says_done=usage is None))
    return script


def _usage(thinking: int, answer: int) -> dict[str, Any]:
    return {
        "prompt_tokens": 7,
        "completion_tokens": thinking + answer,
        "total_tokens": 7 + thinking + answer,
        "completion_tokens_details": {"reasoning_tokens": thinking},
    }


def _text(rng: random.Random) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randint(1, 4)))


def _text_chunks(rng: random.Random, script: StreamScript) -> list[dict[str, Any]]:
    """Deltas of all choices, those of each in order: a role, reasoning, then content."""
    field_name = rng.choice(("reasoning", "reasoning_content"))
    pending: list[list[dict[str, Any]]] = []
    for index in range(script.choices):
        reasoning = [_text(rng) for _ in range(rng.randint(0, 5))]
        content = [_text(rng) for _ in range(rng.randint(1, 5))]
        script.reasoning[index], script.content[index] = "".join(reasoning), "".join(content)
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{field_name: text} for text in reasoning]
        deltas += [{"content": text} for text in content]
        pending.append([{"index": index, "delta": delta} for delta in deltas])
    no_finish = rng.choice(({}, {"finish_reason": None}, {"finish_reason": ""}))
    chunks: list[dict[str, Any]] = []
    while any(pending):
        choice = rng.choice([deltas for deltas in pending if deltas]).pop(0)
        chunks.append({"choices": [{**choice, **no_finish}]})
        if rng.random() < 0.03:
            chunks.append({"choices": []})  # a heartbeat
    return chunks


def _finish_chunks(rng: random.Random, script: StreamScript) -> list[dict[str, Any]]:
    chunks: list[dict[str, Any]] = []
    for index in range(script.choices):
        script.finish[index] = rng.choice(("stop", "length"))
        choice = {"index": index, "delta": {}, "finish_reason": script.finish[index]}
        chunks.append({"choices": [choice]})
    return chunks


def _wire(rng: random.Random, payloads: list[str], ending: Ending, says_done: bool) -> bytes:
    """The stream's bytes; `says_done` where nothing but [DONE] tells that no usage will come."""
    line_ends = rng.choice((["\n"], ["\n"], ["\r\n"], ["\r"], ["\n", "\r\n", "\r"]))
    prefix = rng.choice(("data: ", "data: ", "data:"))

    def event(*lines: str) -> str:
        end = rng.choice(line_ends)  # one per event: CR before LF would be a single line end
        return "".join(line + end for line in (*lines, ""))

    events: list[str] = []
    for payload in payloads:
        if rng.random() < 0.05:
            events.append(event(rng.choice((": ping", ":"))))
        if rng.random() < 0.05:  # one object on several lines
            indented = json.dumps(json.loads(payload), indent=1).splitlines()
            events.append(event(*(prefix + line for line in indented)))
        else:
            events.append(event(prefix + payload))
    if ending == "failed":
        error = {"message": "died", "type": "InternalServerError", "code": 500}
        failed = {"index": 0, "delta": {}, "finish_reason": "error"}
        events.append(
            rng.choice(
                (
                    event(prefix + json.dumps({"error": error})),
                    event("event: error", prefix + json.dumps({"message": "died"})),
                    event(prefix + json.dumps({"choices": [failed]})),
                    event(prefix + json.dumps({"choices": [{**failed, "error": error}]})),
                )
            )
        )
    if ending == "complete" or rng.random() < 0.3:
        endings = (event(f"{prefix}[DONE]"), f"{prefix}[DONE]\n", "")
        events.append(rng.choices(endings, (8, 1, not says_done))[0])
    return "".join(events).encode()


def _segments(rng: random.Random, body: bytes) -> list[bytes]:
    cuts = sorted(rng.choices(range(len(body) + 1), k=rng.choice((0, 3, 20))))
    return [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
