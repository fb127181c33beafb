"""Continues chat completions: the assistant's message is the last one of the second request."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any, cast

from server.engines import chat_chunk
from server.engines.continuing.api import Json, Kind
from server.engines.continuing.ending import end_kind, is_cut_or_several
from server.engines.continuing.prefix import TRANSITION, without_echo
from server.engines.continuing.unfinished import Unfinished
from server.engines.usage import Usage, read_usage
from server.http.sse import encode, payload

LIMITS: tuple[str, ...] = ("max_tokens", "max_completion_tokens")
NOTABLE = re.compile(
    rb'"(?:content"\s*+:\s*["\[]\s*[^"\s]|(?:tool_calls|audio|function_call)"\s*+:\s*[\[{]'
    rb'|(?:finish_reason|refusal)"\s*+:\s*"|error"\s*+:\s*[{"])'
)
_ANSWER = re.compile(rb'"(?:content"\s*+:\s*["\[]\s*[^"\s\\]|tool_calls"\s*+:\s*\[\s*\{)')
_FINISH = b'"finish_reason"'


def kind(event: Json, limit: int | None) -> Kind | None:  # noqa: ARG001
    if event.get("error"):
        return "error"
    choice = chat_chunk.first_choice(event) or {}
    finish = choice.get("finish_reason")
    if chat_chunk.has_answer(chat_chunk.part(choice, "delta")):
        return "answer" if not finish or end_kind(finish) != "cut" else "last answer"
    return end_kind(finish)


def split_end(event: bytes, fields: Json) -> list[bytes]:
    choice = chat_chunk.first_choice(fields) or {}
    if not any(chat_chunk.part(choice, "delta").values()):
        return [event]
    text = {name: value for name, value in fields.items() if name != "usage"}
    text["choices"] = [{**choice, "finish_reason": None}]
    end = {name: value for name, value in choice.items() if name != "logprobs"}
    return [encode(text), encode({**fields, "choices": [{**end, "delta": {}}]})]


def may_lack_answer(raw: bytes) -> bool:
    return is_cut_or_several(raw, _FINISH) or not _ANSWER.search(raw)


def read_stream(events: Sequence[Json], limit: int | None) -> Unfinished | None:  # noqa: ARG001
    deltas = [chat_chunk.part(chat_chunk.first_choice(event) or {}, "delta") for event in events]
    finishes = [(chat_chunk.first_choice(event) or {}).get("finish_reason") for event in events]
    message: Json = {
        "reasoning": "".join(chat_chunk.reasoning(delta)[0] for delta in deltas),
        "content": "".join(chat_chunk.text(delta) for delta in deltas),
        "tool_calls": [delta["tool_calls"] for delta in deltas if delta.get("tool_calls")],
    }
    usages = [usage for event in events if (usage := read_usage(event))]
    finish = next((finish for finish in finishes if finish), None)
    return _unfinished(message, finish, usages[-1] if usages else None)


def thinking_events(events: Sequence[Json]) -> int:
    choices = (chat_chunk.first_choice(event) or {} for event in events)
    return sum(bool(chat_chunk.reasoning(chat_chunk.part(c, "delta"))[0]) for c in choices)


def read_answer(answer: Json, limit: int | None) -> list[Unfinished]:  # noqa: ARG001
    choices = chat_chunk.choices(answer)
    usage = read_usage(answer) if len(choices) == 1 else None
    states: list[Unfinished] = []
    for position, choice in enumerate(choices):
        message, finish = chat_chunk.part(choice, "message"), choice.get("finish_reason")
        state = _unfinished(message, finish, usage)
        if state is not None:
            state.index = position
            states.append(state)
    return states


def body(body: Json, state: Unfinished, resume: Json, remaining: int | None) -> Json:
    continued = continued_chat(body, resume, state.prefix(), remaining)
    continued.pop("thinking_token_budget", None)
    return {**continued, "n": 1} if "n" in continued else continued


def requested_limit(body: Mapping[str, Any]) -> int | None:
    """The smallest of the fields that bound a chat completion, in tokens."""
    limits = [body[name] for name in LIMITS if isinstance(body.get(name), int)]
    return min(limits, default=None)


def continued_chat(body: Json, resume: Json, prefix: str, remaining: int | None) -> Json:
    """The chat body that has the engine go on after `prefix`.

    Args:
        body: that of the first request.
        resume: fields that make the engine continue the last message.
        prefix: how the assistant's message begins.
        remaining: completion tokens that are left, at least 1; None without a limit.
    """
    messages = list(cast("list[Json]", body["messages"]))
    if body.get("continue_final_message") and isinstance(messages[-1].get("content"), str):
        prefix = messages.pop()["content"] + prefix
    messages.append({"role": "assistant", "content": prefix})
    continued = {**body, **resume, "messages": messages}
    if remaining is not None:
        for name in (*LIMITS, "min_tokens"):
            if isinstance(body.get(name), int):
                continued[name] = min(body[name], max(1, remaining))
    return continued


def merged(answer: Json, state: Unfinished, continued: Json) -> Json:
    continued_choice = chat_chunk.first_choice(continued) or {}
    message = chat_chunk.part(continued_choice, "message")
    reasoning, _ = chat_chunk.reasoning(message)
    text = without_echo(reasoning, chat_chunk.text(message), state.prefix())
    first_usage, usage = read_usage(answer), read_usage(continued)
    if first_usage and usage:
        answer = {**answer, "usage": total_usage(first_usage, state, usage)}
    if not chat_chunk.has_answer({**message, "content": text}):
        return answer
    choices = list(chat_chunk.choices(answer))
    begun_choice = choices[state.index]
    begun = chat_chunk.part(begun_choice, "message")
    field = chat_chunk.reasoning(begun)[1]
    thoughts = state.reasoning if state.text else state.reasoning + TRANSITION
    message_in_full = {**begun, **message, "content": state.text + text}
    if "reasoning" in message_in_full:
        message_in_full["reasoning"] = None
    message_in_full[field] = thoughts or None
    choices[state.index] = {
        **begun_choice,
        **continued_choice,
        "index": begun_choice.get("index", 0),
        "message": message_in_full,
    }
    return {**answer, "choices": choices}


async def joined(
    events: Sequence[Json], state: Unfinished, continued: AsyncIterator[bytes]
) -> AsyncGenerator[bytes]:
    common = common_fields(events[0]) if events else {}
    deltas = [chat_chunk.part(chat_chunk.first_choice(event) or {}, "delta") for event in events]
    if not state.text:
        field = next((chat_chunk.reasoning(d)[1] for d in deltas if chat_chunk.reasoning(d)[0]), "")
        yield encode(chunk({field or "reasoning": TRANSITION}, common))
    usages = [usage for event in events if (usage := read_usage(event))]
    async for event in continued:
        fields = payload(event)
        if fields is None:
            yield event
            continue
        usage = read_usage(fields)
        if usage is not None:
            begun = usages[-1] if usages else None
            fields = {**fields, "usage": total_usage(begun, state, usage)}
        yield encode(as_answer(fields, common))


def common_fields(event: Json) -> Json:
    """The fields that all chunks of a stream share: id, model and the like."""
    return {
        name: value for name, value in event.items() if name not in ("choices", "usage", "error")
    }


def chunk(delta: Json, common: Json) -> Json:
    """A chunk of the first stream."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    return {**common, "choices": [choice]}


def as_answer(event: Json, common: Json) -> Json:
    """A chunk of the second stream as one of the first; all of its text is answer."""
    choice = chat_chunk.first_choice(event)
    delta = chat_chunk.part(choice or {}, "delta")
    if choice is not None and delta:
        dropped = ("role", "content", "reasoning", "reasoning_content")
        answer: Json = {name: value for name, value in delta.items() if name not in dropped}
        if text := chat_chunk.reasoning(delta)[0] + chat_chunk.text(delta):
            answer["content"] = text
        event = {**event, "choices": [{**choice, "delta": answer}]}
    return {**event, **common}


def total_usage(begun: Usage | None, state: Unfinished, added: Usage) -> Json:
    """The prompt once, and the completions of both requests.

    The prompt of the second is that of the first, and what the first generated: it tells the
    prompt of a first request that was cut before it reported one.
    """
    thinking, spent = state.thinking_tokens, state.completion_tokens or 0
    prompt = max(0, added.prompt - spent - state.closing_tokens)
    if begun is not None:
        prompt, spent = begun.prompt, max(spent, begun.completion)
        thinking = begun.thinking if begun.thinking is not None else thinking
    cached = begun.cached if begun is not None else 0
    return usage_object(prompt, spent + added.completion, thinking, cached)


def usage_object(prompt: int, completion: int, thinking: int | None, cached: int) -> Json:
    """A completion's `usage`; without the thinking tokens where they are not known."""
    usage: Json = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if cached:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    if thinking is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": thinking}
    return usage


def _unfinished(message: Json, finish: object, usage: Usage | None) -> Unfinished | None:
    """The state of a choice; None where it is whole, or cannot be continued, as a tool's call."""
    reasoning, text = chat_chunk.reasoning(message)[0], chat_chunk.text(message)
    if message.get("tool_calls") or message.get("function_call") or message.get("refusal"):
        return None
    if finish is not None and end_kind(finish) is None:
        return None
    return Unfinished.of(reasoning, text, usage, end_kind(finish) == "cut")
