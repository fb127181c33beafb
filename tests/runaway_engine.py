"""An engine in vLLM's dialect that thinks as long as it likes, on a real loopback socket.

It speaks Chat Completions, Responses and Messages, and goes on after a closed reasoning block. The
last user message scripts it: `think=20 answer=5` (tokens, which are words), `stop` ends within the
thinking, `call` answers with a tool's call. `max_tokens` and the context bound it, no budget does.
"""

import json
import re
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from app_server import served
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

CONTEXT = 2000
PROMPT_TOKENS = 10
CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{}"}}


@dataclass
class Generated:
    """What one request generates, in tokens; `spent` is all of it."""

    think: int
    answer: int
    finish: str
    calls: bool
    prompt: int

    @property
    def spent(self) -> int:
        return self.think + self.answer


@dataclass
class RunawayEngine:
    """Its behaviour, and the bodies that it got.

    Args:
        obeys: budgets up to here are obeyed; None obeys none.
        tokens_per_chunk: of a stream.
        reports_thinking: whether usage tells thinking tokens.
        running_usage: whether chunks carry the usage so far, where that is requested.
        tokenizes: whether it has `/tokenize`.
        continues: whether it goes on with an assistant's message.
        breaks: whether its connection breaks after the first token of a message that it goes on
            with, in a chat's stream.
        repeats_output: whether the last event of a streamed response repeats its thoughts.
    """

    obeys: int | None = None
    tokens_per_chunk: int = 1
    reports_thinking: bool = True
    running_usage: bool = True
    tokenizes: bool = True
    continues: bool = True
    breaks: bool = False
    repeats_output: bool = True
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    spent: int = 0
    url: str = ""

    @contextmanager
    def behaving(self, **behaviour: Any) -> Generator[None]:
        """Other behaviour while the block lasts."""
        defaults = {name: getattr(self, name) for name in behaviour}
        for name, value in behaviour.items():
            setattr(self, name, value)
        try:
            yield
        finally:
            for name, value in defaults.items():
                setattr(self, name, value)

    def generate(self, body: dict[str, Any], prefix: str, text: str, thinks: bool) -> Generated:
        self.bodies.append(body)
        words = dict(re.findall(r"(think|answer)=(\d+)", text))
        think, answer = int(words.get("think", 100)), int(words.get("answer", 5))
        prompt = PROMPT_TOKENS + len(prefix.split())
        if (prefix and self.continues) or not thinks:
            think, begun = 0, prefix.partition("</think>")[2]
            answer -= len(begun.split())
        budget = body.get("thinking_token_budget", body.get("thinking_budget_tokens"))
        budget = (body.get("thinking") or {}).get("budget_tokens", budget)
        if budget is not None and self.obeys is not None and budget <= self.obeys:
            think = min(think, budget)
        limits = [body.get(name) for name in ("max_tokens", "max_output_tokens")]
        limit = min([CONTEXT - prompt, *(limit for limit in limits if limit is not None)])
        finish = "stop"
        if "stop" in text and think:
            answer = 0
        if think + answer > limit:
            finish, think = "length", min(think, limit)
            answer = limit - think
        self.spent += think + answer
        return Generated(think, answer, finish, "call" in text, prompt)

    def usage(self, made: Generated, spent: int | None = None) -> dict[str, Any]:
        completion = made.spent if spent is None else spent
        usage: dict[str, Any] = {"prompt_tokens": made.prompt, "completion_tokens": completion}
        if self.reports_thinking:
            thinking = min(completion, made.think)
            usage["completion_tokens_details"] = {"reasoning_tokens": thinking}
        return usage

    async def models(self, _: Request) -> Response:
        return JSONResponse({"data": [{"id": "runaway", "max_model_len": CONTEXT}]})

    async def tokenize(self, request: Request) -> Response:
        if not self.tokenizes:
            return Response(status_code=404)
        return JSONResponse({"count": len((await request.json())["prompt"].split())})

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        *_, last = body["messages"]
        prefix = last["content"] if last["role"] == "assistant" else ""
        if prefix and self.continues and not body.get("continue_final_message"):
            prefix = ""
        made = self.generate(body, prefix, _script(body["messages"]), _thinks(body))
        if body.get("stream"):
            return StreamingResponse(self._chat_events(body, made), media_type="text/event-stream")
        choices = [
            {"index": index, "message": _message(made), "finish_reason": made.finish}
            for index in range(body.get("n") or 1)
        ]
        usage = self.usage(made)
        usage["completion_tokens"] *= len(choices)
        return JSONResponse({"id": "c", "choices": choices, "usage": usage})

    async def _chat_events(self, body: dict[str, Any], made: Generated) -> AsyncGenerator[bytes]:
        options = body.get("stream_options") or {}
        running = self.running_usage and options.get("continuous_usage_stats")
        yield _sse({"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant"}}]})
        for name, start, count in self._chunks(made):
            if self.breaks and made.prompt > PROMPT_TOKENS and start:
                raise ConnectionError("broken")
            delta: dict[str, Any] = {name: "w " * count}
            if name == "content" and made.calls:
                delta = {"tool_calls": [{"index": 0, **CALL}]}
            chunk: dict[str, Any] = {"id": "c", "choices": [{"index": 0, "delta": delta}]}
            if running:
                chunk["usage"] = self.usage(made, start + count)
            yield _sse(chunk)
        choice = {"index": 0, "delta": {}, "finish_reason": made.finish}
        yield _sse({"id": "c", "choices": [choice]})
        yield _sse({"id": "c", "choices": [], "usage": self.usage(made)})
        yield b"data: [DONE]\n\n"

    def _chunks(self, made: Generated) -> Generator[tuple[str, int, int]]:
        """Name, first token and tokens of each chunk."""
        for name, begin, end in (
            ("reasoning", 0, made.think),
            ("content", made.think, made.spent),
        ):
            for start in range(begin, end, self.tokens_per_chunk):
                yield name, start, min(self.tokens_per_chunk, end - start)

    async def responses(self, request: Request) -> Response:
        body = await request.json()
        items = body["input"] if isinstance(body["input"], list) else []
        items = items or [{"role": "user", "content": body["input"]}]
        last = items[-1]
        prefix = last["content"][0]["text"] if last.get("status") == "incomplete" else ""
        thinks = (body.get("reasoning") or {}).get("effort") != "none"
        made = self.generate(body, prefix, _script(items), thinks)
        response = self._response(made)
        if not body.get("stream"):
            return JSONResponse(response)
        return StreamingResponse(self._response_events(made), media_type="text/event-stream")

    def _response(self, made: Generated) -> dict[str, Any]:
        output: list[dict[str, Any]] = []
        for name, count in (("reasoning", made.think), ("output", made.answer)):
            if count:
                kind = "reasoning" if name == "reasoning" else "message"
                text = {"type": f"{name}_text", "text": "w " * count}
                output.append({"type": kind, "id": f"{kind}_1", "content": [text]})
        if made.calls and made.answer:
            output[-1] = {"type": "function_call", "name": "add", "call_id": "call_1"}
        usage = {"input_tokens": made.prompt, "output_tokens": made.spent}
        usage["output_tokens_details"] = {"reasoning_tokens": made.think}  # pyright: ignore[reportArgumentType]
        status = "incomplete" if made.finish == "length" else "completed"
        reason = {"reason": "max_output_tokens"} if status == "incomplete" else None
        fields = {"id": "resp_1", "status": status, "incomplete_details": reason}
        return {**fields, "output": output, "usage": usage}

    async def _response_events(self, made: Generated) -> AsyncGenerator[bytes]:
        opening = {"type": "response.created", "response": {"id": "resp_1", "status": "queued"}}
        events: list[dict[str, Any]] = [opening]
        items: list[str] = []
        for name, _, count in self._chunks(made):
            kind = {"reasoning": "reasoning", "content": "message"}[name]
            if made.calls and kind == "message":
                kind = "function_call"
            if kind not in items:
                items.append(kind)
                added = {"type": "response.output_item.added", "output_index": len(items) - 1}
                call = {"call_id": "call_1"} if kind == "function_call" else {}
                events.append({**added, "item": {"type": kind, **call}})
            delta = {"reasoning": "reasoning_text.delta", "message": "output_text.delta"}
            event = {"type": f"response.{delta.get(kind, 'function_call_arguments.delta')}"}
            events.append({**event, "output_index": len(items) - 1, "delta": "w " * count})
        response = self._response(made)
        if not self.repeats_output and not made.answer:
            response["output"] = []
        events.append({"type": f"response.{response['status']}", "response": response})
        for number, event in enumerate(events):
            yield _sse({**event, "sequence_number": number}, str(event["type"]))

    async def messages(self, request: Request) -> Response:
        body = await request.json()
        *_, last = body["messages"]
        prefix = last["content"] if last["role"] == "assistant" else ""
        thinks = (body.get("thinking") or {}).get("type") != "disabled"
        made = self.generate(body, prefix, _script(body["messages"]), thinks)
        if body.get("stream"):
            return StreamingResponse(self._message_events(made), media_type="text/event-stream")
        content = [{"type": "thinking", "thinking": "w " * made.think}] if made.think else []
        if made.answer:
            content.append(_block(made, "w " * made.answer))
        head = {"type": "message", "id": "msg_1", "role": "assistant", "content": content}
        reason = {"length": "max_tokens", "stop": "end_turn"}[made.finish]
        usage = {"input_tokens": made.prompt, "output_tokens": made.spent}
        return JSONResponse({**head, "stop_reason": reason, "usage": usage})

    async def _message_events(self, made: Generated) -> AsyncGenerator[bytes]:
        usage = {"input_tokens": made.prompt, "output_tokens": 0}
        yield _named("message_start", message={"type": "message", "usage": usage})
        index = -1
        for name, count in (("thinking", made.think), ("text", made.answer)):
            if not count:
                continue
            index += 1
            empty = {"type": "thinking", "thinking": ""} if index == 0 and made.think else None
            yield _named("content_block_start", index=index, content_block=empty or _block(made))
            for start in range(0, count, self.tokens_per_chunk):
                words = "w " * min(self.tokens_per_chunk, count - start)
                delta = {"type": f"{name}_delta", name: words}
                if made.calls and name == "text":
                    delta = {"type": "input_json_delta", "partial_json": ""}
                yield _named("content_block_delta", index=index, delta=delta)
            yield _named("content_block_stop", index=index)
        reason = {"length": "max_tokens", "stop": "end_turn"}[made.finish]
        usage = {"output_tokens": made.spent}
        yield _named("message_delta", delta={"stop_reason": reason}, usage=usage)
        yield _named("message_stop")


def _script(messages: list[dict[str, Any]]) -> str:
    users = [message["content"] for message in messages if message.get("role") == "user"]
    return users[-1] if isinstance(users[-1], str) else users[-1][0]["text"]


def _thinks(body: dict[str, Any]) -> bool:
    kwargs = body.get("chat_template_kwargs") or {}
    return body.get("reasoning_effort") != "none" and kwargs.get("enable_thinking") is not False


def _message(made: Generated) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "w " * made.answer or None}
    message["reasoning"] = "w " * made.think or None
    if made.calls and made.answer:
        message |= {"content": None, "tool_calls": [CALL]}
    return message


def _block(made: Generated, text: str = "") -> dict[str, Any]:
    if made.calls:
        return {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {}}
    return {"type": "text", "text": text}


def _sse(body: dict[str, Any], name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + f"data: {json.dumps(body)}\n\n".encode()


def _named(name: str, **fields: Any) -> bytes:
    return _sse({"type": name, **fields}, name)


@contextmanager
def runaway_engine(**behaviour: Any) -> Generator[RunawayEngine]:
    engine = RunawayEngine(**behaviour)
    routes = [
        Route("/v1/models", engine.models),
        Route("/tokenize", engine.tokenize, methods=["POST"]),
        Route("/v1/chat/completions", engine.chat, methods=["POST"]),
        Route("/v1/responses", engine.responses, methods=["POST"]),
        Route("/v1/messages", engine.messages, methods=["POST"]),
    ]
    with served(Starlette(routes=routes)) as engine.url:
        yield engine
