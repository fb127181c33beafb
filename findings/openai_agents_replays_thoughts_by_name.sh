#!/bin/sh
# openai-agents 0.24.0: in a tool loop, the engine gets its thoughts back, or not, by their field's and the model's name.
#
# Guess: the chat-completions model sends an assistant's message back as it came, or always without its thoughts.
# Seen: thoughts that came in `reasoning` (vLLM) go back. Those of `reasoning_content` (SGLang, llama.cpp) go back only if
# the served model's name contains "deepseek"; under any other name, the request after the tool call has none. Where an
# engine or gateway sends both fields, `reasoning_content` decides, so adding it for older clients removes the thoughts.
# Hurts: agents on models that are meant to see their thoughts in a tool loop (Qwen3.8, Kimi-K3): they go on without
# them after each call, and a change of the alias or of the engine changes the prompt. Nothing is logged.
# Remedy: `should_replay_reasoning_content=lambda context: True` for OpenAIChatCompletionsModel, or let the engine or gateway
# send `reasoning` alone (for this project: `reasoning_content = false`).
# Source: agents/models/reasoning_content_replay.py and chatcmpl_converter.py of the wheel.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check openai-agents==0.24.0 openai==3.57.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

THOUGHT = "I need the sum of 2 and 3."
CALL = {"id": "call-1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2, "b": 3}'}}
set_tracing_disabled(True)
requests = []
fields = ()


class Engine(BaseHTTPRequestHandler):
    """Stands in for an engine: it thinks and calls the tool, then thinks and answers."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        requests.append(request)
        message = {"role": "assistant", **dict.fromkeys(fields, THOUGHT)}
        message |= {"content": "5"} if len(requests) == 2 else {"content": None, "tool_calls": [CALL]}
        finish = "stop" if len(requests) == 2 else "tool_calls"
        answer = {"id": "answer", "created": 1, "model": request["model"]}
        if request.get("stream"):
            answer["object"] = "chat.completion.chunk"
            if "tool_calls" in message:
                message["tool_calls"] = [CALL | {"index": 0}]
            deltas = [{key: value} for key, value in message.items()]
            choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
            choices.append({"index": 0, "delta": {}, "finish_reason": finish})
            chunks = [json.dumps(answer | {"choices": [choice]}) for choice in choices] + ["[DONE]"]
            kind, body = "text/event-stream", "".join(f"data: {chunk}\n\n" for chunk in chunks)
        else:
            answer |= {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": finish}]}
            kind, body = "application/json", json.dumps(answer)
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


@function_tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def sent_back(client, name, stream, **options):
    """The fields of the assistant's message, in the request after the tool call, that have its thoughts."""
    requests.clear()
    model = OpenAIChatCompletionsModel(name, client, **options)
    agent = Agent(name="adder", model=model, tools=[add])
    if stream:
        result = Runner.run_streamed(agent, "What is 2 + 3?")
        async for _ in result.stream_events():
            pass
    else:
        result = await Runner.run(agent, "What is 2 + 3?")
    assert result.final_output == "5" and len(requests) == 2
    (message,) = [message for message in requests[1]["messages"] if message["role"] == "assistant"]
    return [key for key, value in message.items() if value == THOUGHT]


async def main():
    global fields
    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = AsyncOpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="unused")
    both = ("reasoning", "reasoning_content")
    expected = {
        ("qwen3.8", both[:1]): ["reasoning"],
        ("qwen3.8", both[1:]): [],
        ("qwen3.8", both): [],
        ("my-deepseek", both[:1]): ["reasoning"],
        ("my-deepseek", both[1:]): ["reasoning_content"],
        ("my-deepseek", both): ["reasoning_content"],
    }
    for (name, fields), back in expected.items():
        for stream in (False, True):
            seen = await sent_back(client, name, stream)
            print(f"{name:12}{'stream' if stream else 'whole':7} came in {'+'.join(fields):28} went back in {seen or 'none'}")
            assert seen == back, "the behaviour has changed"
    fields = both
    for stream in (False, True):
        seen = await sent_back(client, "qwen3.8", stream, should_replay_reasoning_content=lambda context: True)
        print(f"with the hook, {'stream' if stream else 'whole'}: {seen}")
        assert seen == ["reasoning_content"], "the remedy has changed"
    server.shutdown()


asyncio.run(main())
PYTHON
