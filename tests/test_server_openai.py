"""The gateway with its embedded engine, as the OpenAI client and LangChain use it."""

from __future__ import annotations  # openai is loaded when it is used

import json
import random
import re
import subprocess
import sys
from collections.abc import Generator
from typing import Any

import httpx
import pytest
from clients import openai

STORY = "Ada has 34 apples. Ada buys 27 more apples. Ada loses 15 apples. How many apples now?"
LONG_STORY = (
    "Ben has 40 coins. Ben finds 61 coins. Ben loses 17 coins. Ben sells 38 of the coins. Then Ben "
    "wins 77 coins. Ben buys 25 more coins. Ben loses 83 coins. Ben finds 90 coins. Ben gives away "
    "44 coins. How many coins does Ben have now?"
)
MESSAGES: list[Any] = [{"role": "user", "content": STORY}]


@pytest.fixture(scope="module")
def client(gateway: str) -> Generator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway}/v1", api_key="unused", max_retries=0) as client:
        yield client


def tops(completion: Any) -> dict[str, Any]:
    return completion.model_extra["tops"]


def reasoning_tokens(completion: openai.types.chat.ChatCompletion) -> int:
    assert completion.usage
    assert completion.usage.completion_tokens_details
    tokens = completion.usage.completion_tokens_details.reasoning_tokens
    assert tokens is not None
    return tokens


@pytest.mark.parametrize("effort", ["none", "low", "medium", "high"])
def test_every_effort_reaches_the_model(client: openai.OpenAI, effort: Any) -> None:
    answer = client.chat.completions.create(
        model="demo", messages=MESSAGES, reasoning_effort=effort, temperature=0
    )
    assert tops(answer)["effort"] == effort
    assert tops(answer)["source"] == "request"
    assert tops(answer)["thinking_tokens"] == reasoning_tokens(answer)
    assert (reasoning_tokens(answer) == 0) == (effort == "none")
    assert re.search(r"\d", answer.choices[0].message.content or "")


def test_higher_efforts_think_longer(client: openai.OpenAI) -> None:
    spent = [
        reasoning_tokens(
            client.chat.completions.create(
                model="demo", messages=MESSAGES, reasoning_effort=effort, temperature=0
            )
        )
        for effort in ("none", "low", "medium", "high")
    ]
    assert spent == sorted(set(spent))


def test_auto_is_the_router_s_choice_and_shown_in_headers(client: openai.OpenAI) -> None:
    for extra in ({}, {"reasoning_effort": "auto"}):
        raw = client.chat.completions.with_raw_response.create(
            model="demo", messages=MESSAGES, extra_body=extra
        )
        body = tops(raw.parse())
        assert body["source"] == "router"
        assert raw.headers["x-tops-source"] == "router"
        assert raw.headers["x-tops-effort"] == body["effort"]
        assert raw.headers["x-tops-budget"] == str(body["budget"])
        assert raw.headers["x-tops-arm"] == "treated"
        assert 0 <= float(raw.headers["x-tops-difficulty"]) <= 1
        assert 0 <= float(raw.headers["x-tops-p-correct"]) <= 1
        assert raw.headers["x-request-id"]
        assert body["baseline_tokens"] > 0


@pytest.mark.parametrize("include_usage", [False, True])
def test_a_stream_has_reasoning_then_content_then_tops_in_its_last_chunk(
    client: openai.OpenAI, include_usage: bool
) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if include_usage else {}
    stream = client.chat.completions.create(
        model="demo",
        messages=MESSAGES,
        reasoning_effort="high",
        temperature=0,
        stream=True,
        **options,
    )
    chunks = list(stream)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    thought = "".join((delta.model_extra or {}).get("reasoning") or "" for delta in deltas)
    content = "".join(delta.content or "" for delta in deltas)
    answer = client.chat.completions.create(
        model="demo", messages=MESSAGES, reasoning_effort="high", temperature=0
    )
    assert content == answer.choices[0].message.content
    extra = answer.choices[0].message.model_extra or {}
    assert thought == extra["reasoning"] == extra["reasoning_content"]
    copies = [(delta.model_extra or {}).get("reasoning_content") or "" for delta in deltas]
    assert "".join(copies) == thought
    assert len(chunks) > 20
    assert [chunk for chunk in chunks if "tops" in (chunk.model_extra or {})] == [chunks[-1]]
    assert tops(chunks[-1]) == tops(answer)
    assert (chunks[-1].usage is not None) == include_usage


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_in_the_history_shows_its_conversation(gateway: str, stream: bool) -> None:
    story = LONG_STORY.replace("40", "41") if stream else LONG_STORY
    messages = [{"role": "user", "content": story}]

    def post(path: str = "chat/completions", **fields: Any) -> httpx.Response:
        body = {"messages": messages, **fields}
        return httpx.post(f"{gateway}/v1/{path}", json=body, timeout=60)

    answer = post(stream=stream)
    effort = answer.headers["x-tops-effort"]
    if stream:
        chunks = [json.loads(event[5:]) for event in answer.text.split("\n\n")[:-2]]
        deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
        content = "".join(delta.get("content") or "" for delta in deltas)
    else:
        content = answer.json()["choices"][0]["message"]["content"]
    messages += [{"role": "assistant", "content": content}, {"role": "tool", "content": STORY}]
    shown = post("route").json()
    assert (shown["conversation"], shown["source"]) == ("history", "pinned")
    assert shown["effort"] == effort
    messages[1]["content"] = "My own answer is 42."
    shown = post("route").json()
    assert (shown["conversation"], shown["source"], shown["arm"]) == (None, "router", None)
    refused = httpx.post(
        f"{gateway}/v1/chat/completions",
        json={"messages": messages},
        headers={"x-tops-conversation": "two words"},
    )
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "x-tops-conversation"


def test_a_budget_through_extra_body(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="demo",
        messages=[{"role": "user", "content": LONG_STORY}],
        reasoning_effort="high",
        extra_body={"thinking_token_budget": 40},
    )
    assert reasoning_tokens(answer) == 40
    assert tops(answer) | {"baseline_tokens": None} == {
        "effort": "high",
        "source": "request",
        "budget": 40,
        "budget_source": "request",
        "budget_hit": True,
        "thinking_tokens": 40,
        "baseline_tokens": None,
    }
    assert re.search(r"\d", answer.choices[0].message.content or "")


def test_budgets_are_never_exceeded_and_hit_exactly_when_spent(
    client: openai.OpenAI,
) -> None:
    rng = random.Random(3)
    for _ in range(60):
        budget = rng.choice([0, 1, rng.randint(0, 40), rng.randint(0, 400)])
        effort: Any = rng.choice(["low", "medium", "high"])
        answer = client.chat.completions.create(
            model="demo",
            messages=MESSAGES,
            reasoning_effort=effort,
            extra_body={"thinking_token_budget": budget},
        )
        spent = reasoning_tokens(answer)
        assert spent <= budget
        assert tops(answer)["budget_hit"] == (spent == budget)
        assert answer.choices[0].message.content
        assert answer.choices[0].finish_reason == "stop"


def test_thinking_leaves_the_answer_its_reserve(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="demo",
        messages=[{"role": "user", "content": LONG_STORY}],
        reasoning_effort="high",
        max_completion_tokens=60,
    )
    assert tops(answer)["budget"] == 30
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content


def test_two_choices(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="demo", messages=MESSAGES, n=2, temperature=1, reasoning_effort="low"
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert all(choice.message.content for choice in answer.choices)


def test_stop_seed_and_logprobs_pass_through(client: openai.OpenAI) -> None:
    stopped = client.chat.completions.create(
        model="demo", messages=MESSAGES, temperature=0, reasoning_effort="none", stop=["answer"]
    )
    assert stopped.choices[0].message.content == "The "
    seeded = [
        client.chat.completions.create(
            model="demo",
            messages=MESSAGES,
            temperature=2,
            top_p=1,
            seed=seed,
            reasoning_effort="none",
        )
        for seed in (7, 7)
    ]
    assert seeded[0].choices[0].message.content == seeded[1].choices[0].message.content
    scored = client.chat.completions.create(
        model="demo", messages=MESSAGES, reasoning_effort="none", logprobs=True
    )
    assert scored.choices[0].logprobs
    assert scored.choices[0].logprobs.content


TOOL: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
IMAGE: Any = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": [IMAGE]}]},
        {"messages": MESSAGES, "tools": [TOOL]},
        {"messages": [{"role": "user", "content": "word " * 400_000}]},
        {"messages": MESSAGES, "extra_body": {"thinking_token_budget": 10**12}},
        {"messages": MESSAGES, "extra_body": {"thinking_token_budget": -5}},
        {"messages": MESSAGES, "extra_body": {"reasoning_effort": "extreme"}},
        {"messages": MESSAGES, "temperature": -1},
    ],
    ids=["image", "tools", "2 MB", "absurd budget", "negative", "effort", "cold"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_the_demo_model_cannot_answer_gets_a_clear_400(
    client: openai.OpenAI, fields: dict[str, Any], stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="demo", stream=stream, **fields)
    body: Any = refused.value.body
    assert len(body["message"]) > 20


def test_langchain(gateway: str) -> None:
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(
        base_url=f"{gateway}/v1", api_key="unused", model="demo", reasoning_effort="low"
    )
    answer = chat.invoke(STORY)
    assert re.search(r"\d", str(answer.content))
    streamed = "".join(str(chunk.content) for chunk in chat.stream(STORY))
    assert re.search(r"\d", streamed)


PROGRAM = """
import sys, openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="unused")
answer = client.chat.completions.create(
    model="demo", messages=[{"role": "user", "content": sys.argv[2]}]
)
print(answer.model_extra["tops"]["source"])
"""


def test_another_process_with_the_openai_client(gateway: str) -> None:
    words = [sys.executable, "-c", PROGRAM, f"{gateway}/v1", STORY]
    process = subprocess.run(words, capture_output=True, text=True, check=False)
    assert process.stdout.strip() == "router", process.stderr


def test_models_ready_health_and_route(client: openai.OpenAI, gateway: str) -> None:
    (model,) = client.models.list().data
    assert model.id == "demo"
    assert httpx.get(f"{gateway}/health").json() == {"status": "ok"}
    ready = httpx.get(f"{gateway}/ready").json()
    (engine,) = ready.pop("engines")
    assert ready.pop("efforts") == ["none", "low", "medium", "high"]
    assert ready.pop("effort_budgets") == {}
    assert ready == {"engine": True, "model": "demo", "router": "fitted", "budgets": "native"}
    assert (engine["up"], engine["budgets"]) == (True, "native")
    body = {"model": "demo", "messages": MESSAGES}
    easy = httpx.post(f"{gateway}/v1/route", json=body).json()
    hard = httpx.post(
        f"{gateway}/v1/route", json={"messages": [{"role": "user", "content": LONG_STORY}]}
    ).json()
    assert set(easy["p_correct"]) == {"none", "low", "medium", "high"} == set(easy["tokens"])
    assert easy["difficulty"] < hard["difficulty"]
    assert easy["tokens"]["high"] < hard["tokens"]["high"]
    assert easy["reason"]
    assert all(isinstance(value, float) for value in easy["features"].values())


def test_sixteen_clients_at_once(gateway: str) -> None:
    import asyncio

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(timeout=60) as http:
            body = {"model": "demo", "messages": MESSAGES}
            asks = [http.post(f"{gateway}/v1/chat/completions", json=body) for _ in range(16)]
            return await asyncio.gather(*asks)

    answers = asyncio.run(run())
    assert [answer.status_code for answer in answers] == [200] * 16
    assert len({json.dumps(answer.json()["id"]) for answer in answers}) == 16


def test_the_model_s_name_may_carry_the_effort(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="demo:low", messages=MESSAGES)
    assert (tops(answer)["effort"], tops(answer)["source"]) == ("low", "request")
    with pytest.raises(openai.BadRequestError, match="leave one out"):
        client.chat.completions.create(model="demo:low", messages=MESSAGES, reasoning_effort="high")


def test_models_are_listed_and_found_by_name(client: openai.OpenAI) -> None:
    (model,) = client.models.list()
    assert (model.id, model.created > 1_700_000_000) == ("demo", True)
    assert client.models.retrieve("demo") == model
    assert client.models.retrieve("demo:high").id == "demo:high"
    with pytest.raises(openai.NotFoundError, match="org/other"):
        client.models.retrieve("org/other")


@pytest.mark.parametrize("length", [1_000, 1_024, 2_048, 10**9])
def test_a_length_beyond_the_context_is_no_error(client: openai.OpenAI, length: int) -> None:
    answer = client.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=length)
    assert answer.choices[0].finish_reason == "stop"


def test_a_prompt_beyond_the_context_has_openai_s_code(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": STORY * 400}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="demo", messages=messages)
    assert caught.value.code == "context_length_exceeded"
    assert "maximum context length is 4096 tokens" in caught.value.message
