"""Tools and JSON schemas through `tops serve --model FILE.gguf`, on every API.

The model is a real one to llama.cpp, whose parsers, grammars and template run unchanged; what it
says is scripted, as no model that is small enough for a test calls tools reliably.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import httpx
import jsonschema
import pytest
from clients import openai
from processes import Server, serving
from scripted_gguf import write_scripted_gguf

pytestmark = pytest.mark.slow

TEMPLATE = """\
{%- if tools %}{{ '<|im_start|>system\\n<tools>' }}
{%- for tool in tools %}{{ '\\n' ~ tool | tojson }}{% endfor %}
{{- '\\n</tools>\\nCall: <tool_call>\\n{"name": NAME, "arguments": OBJECT}\\n</tool_call>' }}
{{- '<|im_end|>\\n' }}{% endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>' ~ message.content ~ '</tool_response><|im_end|>\\n' }}
{%- elif message.tool_calls %}{{ '<|im_start|>assistant' }}
{%- for call in message.tool_calls %}
{{- '\\n<tool_call>\\n{"name": "' ~ call.function.name ~ '", "arguments": ' }}
{{- call.function.arguments | tojson ~ '}\\n</tool_call>' }}{% endfor %}{{ '<|im_end|>\\n' }}
{%- else %}
{{- '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant' }}
{{- ':' if messages[-1].role == 'tool' else '\\n' }}{% endif %}"""

CALL = [
    "<tool_call>\n",
    '{"name": "add", ',
    '"arguments": {"a": 17, ',
    '"b": 25}}',
    "\n</tool_call>",
]
PARAMETERS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
TOOL: Any = {"type": "function", "function": {"name": "add", "parameters": PARAMETERS}}
QUESTION: Any = [{"role": "user", "content": "What is 17 + 25?"}]
SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"enum": ["right", "wrong"]}, "sure": {"type": "boolean"}},
    "required": ["verdict", "sure"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A gateway that started llama.cpp with a model that calls `add`, then says the sum."""
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed (extra llamacpp)")
    file = tmp_path_factory.mktemp("scripted") / "scripted.gguf"
    write_scripted_gguf(file, TEMPLATE, {"\n": CALL, ":": ["The sum", " is 42."]})
    with serving("--model", str(file), "--engine-threads", "1") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)


def test_a_tool_is_called_and_its_result_is_read(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="scripted", messages=QUESTION, tools=[TOOL])
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "add"
    assert json.loads(call.function.arguments) == {"a": 17, "b": 25}
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "42"}
    messages = [*QUESTION, choice.message.to_dict(), result]
    answer = client.chat.completions.create(model="scripted", messages=messages, tools=[TOOL])
    assert answer.choices[0].message.content == "The sum is 42."


def test_a_streamed_call_is_the_same(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="scripted",
            messages=QUESTION,
            tools=[TOOL],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    calls = [call.function for delta in deltas for call in delta.tool_calls or []]
    assert "".join(call.name or "" for call in calls if call) == "add"
    arguments = "".join(call.arguments or "" for call in calls if call)
    assert json.loads(arguments) == {"a": 17, "b": 25}
    assert not "".join(delta.content or "" for delta in deltas)
    assert {chunk.choices[0].finish_reason for chunk in chunks if chunk.choices} == {
        None,
        "tool_calls",
    }
    (usage,) = [chunk.usage for chunk in chunks if chunk.usage]
    assert usage.completion_tokens == len(CALL) + 1


def test_a_tool_is_called_on_responses(client: openai.OpenAI) -> None:
    tool: Any = {"type": "function", "name": "add", "parameters": PARAMETERS, "strict": False}
    answer = client.responses.create(model="scripted", input=QUESTION, tools=[tool])
    calls = [entry for entry in answer.output if entry.type == "function_call"]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("add", {"a": 17, "b": 25})
    ]


def test_a_tool_is_called_on_messages(server: Server) -> None:
    tool = {"name": "add", "description": "Adds.", "input_schema": PARAMETERS}
    body = {"model": "scripted", "messages": QUESTION, "tools": [tool], "max_tokens": 99}
    answer = httpx.post(f"{server.url}/v1/messages", json=body).json()
    assert answer["stop_reason"] == "tool_use"
    calls = [block for block in answer["content"] if block["type"] == "tool_use"]
    assert [(call["name"], call["input"]) for call in calls] == [("add", {"a": 17, "b": 25})]


@pytest.mark.parametrize("stream", [False, True])
def test_a_json_schema_binds_a_model_that_would_say_something_else(
    client: openai.OpenAI, stream: bool
) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": SCHEMA}}
    fields: Any = {"messages": QUESTION, "response_format": form, "max_tokens": 200}
    if stream:
        chunks = client.chat.completions.create(model="scripted", stream=True, **fields)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    else:
        answer = client.chat.completions.create(model="scripted", **fields)
        text = answer.choices[0].message.content or ""
    jsonschema.validate(json.loads(text), SCHEMA)
    plain = client.chat.completions.create(model="scripted", messages=QUESTION)
    assert plain.choices[0].message.content == "".join(CALL)
