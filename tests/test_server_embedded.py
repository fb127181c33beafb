"""The embedded engine as a process of its own: dialect, strict budgets, fairness, stopping."""

import asyncio
import json
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from clients import openai
from engines import await_health
from paths import ROOT
from polling import until

from server.embedded.checkpoint import ReasoningBlock
from server.embedded.decoder import Decoder, Draw
from server.embedded.generation import Generation, Sampling, Scheduler
from server.embedded.protocol import ChatRequest
from server.embedded.reasoning_tags import TagReader
from server.engines.supervisor import free_port

STORY = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens are there now?"
LONG_STORY = (
    "Ben has 40 coins. Ben finds 61 coins. Ben loses 17 coins. Ben sells 38 of the coins. Then Ben "
    "wins 77 coins. Ben buys 25 more coins. Ben loses 83 coins. Ben finds 90 coins. Ben gives away "
    "44 coins. How many coins does Ben have now?"
)
CONTEXT = 4096


@pytest.fixture(scope="module")
def engine() -> Generator[str]:
    port = free_port()
    words = ["-m", "server.embedded", "--model", "models/demo", "--port", str(port)]
    process = subprocess.Popen([sys.executable, *words, "--workers", "2"], cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    await_health(url, process, 60)
    yield url
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (0, -signal.SIGTERM)


def body(text: str = STORY, **fields: Any) -> dict[str, Any]:
    return {"model": "demo", "messages": [{"role": "user", "content": text}], **fields}


def ask(engine: str, text: str = STORY, **fields: Any) -> httpx.Response:
    raw = json.dumps(body(text, **fields))  # httpx would not spell a lone surrogate
    headers = {"content-type": "application/json"}
    return httpx.post(f"{engine}/v1/chat/completions", content=raw, headers=headers, timeout=60)


def message(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]


def reasoning_tokens(response: httpx.Response) -> int:
    return response.json()["usage"]["completion_tokens_details"]["reasoning_tokens"]


def gauge(engine: str, name: str) -> float:
    sample = re.search(rf"^{name} (\S+)$", httpx.get(f"{engine}/metrics").text, re.MULTILINE)
    assert sample
    return float(sample[1])


def test_the_shape_of_an_answer_is_vllm_s(engine: str) -> None:
    answer = ask(engine, reasoning_effort="medium", temperature=0).json()
    assert answer["object"] == "chat.completion"
    assert set(answer["choices"][0]) == {"index", "message", "logprobs", "finish_reason"}
    assert re.fullmatch(r"The answer is \d+\.", answer["choices"][0]["message"]["content"])
    assert answer["choices"][0]["message"]["reasoning"].startswith("Two steps.\n12+")
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    (model,) = httpx.get(f"{engine}/v1/models").json()["data"]
    assert (model["id"], model["max_model_len"]) == ("demo", CONTEXT)


def test_effort_none_does_not_think(engine: str) -> None:
    for fields in (
        {"reasoning_effort": "none"},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"reasoning_effort": "none", "thinking_token_budget": 50},
    ):
        answer = ask(engine, **fields)
        assert message(answer)["reasoning"] is None
        assert reasoning_tokens(answer) == 0


def test_without_an_effort_the_model_decides(engine: str) -> None:
    assert message(ask(engine))["reasoning"]


def test_a_stream_adds_up_to_the_complete_answer(engine: str) -> None:
    for effort in ("none", "low", "high"):
        fields = {"reasoning_effort": effort, "temperature": 0}
        complete = ask(engine, LONG_STORY, **fields).json()
        text = ask(
            engine, LONG_STORY, **fields, stream=True, stream_options={"include_usage": True}
        ).text
        lines = [line for line in text.split("\n\n") if line]
        assert lines[-1] == "data: [DONE]"
        chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
        assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"] == complete["usage"]
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
        joined = {
            name: "".join(delta.get(name) or "" for delta in deltas)
            for name in ("reasoning", "content")
        }
        answer = complete["choices"][0]["message"]
        assert joined == {"reasoning": answer["reasoning"] or "", "content": answer["content"]}
        assert "think>" not in text
        assert "<|" not in text


def test_the_openai_client_streams_two_choices(engine: str) -> None:
    with openai.OpenAI(base_url=f"{engine}/v1", api_key="none") as client:
        assert [model.id for model in client.models.list()] == ["demo"]
        stream = client.chat.completions.create(
            **body(n=2, reasoning_effort="low", stream=True),
            stream_options={"include_usage": True},
            extra_body={"thinking_token_budget": 40},
        )
        contents, finished, usage = ["", ""], [], None
        for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                contents[choice.index] += choice.delta.content or ""
                finished += [choice.finish_reason] if choice.finish_reason else []
    assert all(re.fullmatch(r"The answer is \d+\.", text) for text in contents)
    assert finished == ["stop", "stop"]
    assert usage
    assert 0 < usage.completion_tokens_details.reasoning_tokens <= 80


def test_budgets_bind_strictly_and_the_answer_comes(engine: str) -> None:
    rng = random.Random(1)
    budgets = [rng.choice([0, 1, rng.randint(2, 30), rng.randint(0, 120)]) for _ in range(150)]

    def answered(number: int) -> httpx.Response:
        text = (STORY, LONG_STORY)[number % 2]
        effort = ("low", "medium", "high")[number % 3]
        budget = budgets[number]
        return ask(engine, text, reasoning_effort=effort, thinking_token_budget=budget)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(answered, range(150)))
    for budget, answer in zip(budgets, answers, strict=True):
        assert reasoning_tokens(answer) <= budget
        assert message(answer)["content"]
        assert answer.json()["choices"][0]["finish_reason"] == "stop"
    spent = [reasoning_tokens(answer) for answer in answers]
    assert 20 < sum(map(int.__eq__, spent, budgets)) < 150


@pytest.mark.parametrize("effort", ["low", "medium", "high"])
def test_a_budget_is_spent_exactly_or_changes_nothing(engine: str, effort: str) -> None:
    for text in (STORY, LONG_STORY):
        fields: dict[str, Any] = {"reasoning_effort": effort, "temperature": 0}
        free = ask(engine, text, **fields)
        needed = reasoning_tokens(free)
        for budget in {0, 1, needed - 1, needed, needed + 1, needed // 2, 2 * needed, 200}:
            answer = ask(engine, text, thinking_token_budget=budget, **fields)
            spent = reasoning_tokens(answer)
            assert message(answer)["content"]
            if spent < budget:
                assert message(answer) == message(free)
            else:
                assert spent == budget
                assert needed >= budget * 7 // 8


def test_a_budget_closes_the_block_with_the_transition_sentence(engine: str) -> None:
    answer = ask(engine, LONG_STORY, reasoning_effort="high", thinking_token_budget=150)
    assert message(answer)["reasoning"].endswith("Time is up, so I answer with what I have.")
    assert reasoning_tokens(answer) == 150


@pytest.mark.parametrize("limit", [1, 5, 20, 60])
def test_max_tokens_counts_all_tokens(engine: str, limit: int) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        answer = ask(engine, LONG_STORY, reasoning_effort="high", **{name: limit}).json()
        assert answer["usage"]["completion_tokens"] == limit
        assert answer["choices"][0]["finish_reason"] == "length"


def test_stop_strings_end_the_content_and_are_left_out(engine: str) -> None:
    fields: dict[str, Any] = {"reasoning_effort": "none", "temperature": 0}
    assert message(ask(engine, stop=" is", **fields))["content"] == "The answer"
    assert message(ask(engine, stop=["zzz", "answer i"], **fields))["content"] == "The "
    content = message(ask(engine, **fields))["content"]
    assert message(ask(engine, stop=["is never said"], **fields))["content"] == content
    text = ask(engine, stop=["er is"], stream=True, **fields).text
    chunks = [json.loads(line[6:]) for line in text.split("\n\n")[:-2]]
    streamed = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert streamed == "The answ"


def test_seeds_reproduce_and_differ(engine: str) -> None:
    def drawn(seed: int | None, **fields: Any) -> list[Any]:
        answer = ask(
            engine,
            STORY,
            reasoning_effort="low",
            temperature=4,
            top_p=1,
            seed=seed,
            max_tokens=40,
            **fields,
        )
        return [choice["message"]["reasoning"] for choice in answer.json()["choices"]]

    assert drawn(11) == drawn(11)
    assert drawn(11, n=3) == drawn(11, n=3)
    assert len({str(drawn(seed)) for seed in range(6)}) > 3
    assert len({str(drawn(None)) for _ in range(6)}) > 3


def test_logprobs_of_the_answer(engine: str) -> None:
    answer = ask(engine, reasoning_effort="none", temperature=0, logprobs=True).json()
    scored = answer["choices"][0]["logprobs"]["content"]
    assert (
        "".join(token["token"] for token in scored).strip()
        == (answer["choices"][0]["message"]["content"])
    )
    assert all(token["logprob"] <= 0 for token in scored)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "image_url"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 0}, "n:"),
        ({"n": 1000}, "n:"),
        ({"stop": [""]}, "empty"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"thinking_token_budget": -2}, "thinking_token_budget"),
        ({"thinking_token_budget": 5.0}, "thinking_token_budget"),
        ({"thinking_token_budget": True}, "thinking_token_budget"),
        ({"reasoning_effort": "odd"}, "reasoning_effort"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True, "top_logprobs": 3}, "top_logprobs"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"messages": [{"role": "user", "content": "word " * 400_000}]}, "at least"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "surrogate"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"add_generation_prompt": False}}, "chat_template_kwargs"),
        ({"include_reasoning": False}, "include_reasoning"),
        ({"ignore_eos": True}, "ignore_eos"),
        ({"chat_template": "{{ messages }}"}, "chat_template"),
        ({"modalities": ["audio"]}, "modalities"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_unsupported_fields_are_a_400_that_names_them(
    engine: str, fields: dict[str, Any], says: str, stream: bool
) -> None:
    answer = ask(engine, stream=stream, **fields)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]


def test_a_field_that_is_null_has_its_default() -> None:
    plain: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
    nulls = dict.fromkeys(ChatRequest.model_fields.keys() - {"messages"})
    assert ChatRequest(**plain, **nulls).model_dump() == ChatRequest(**plain).model_dump()


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000, b'{"n":1e'])
def test_a_body_that_is_not_a_json_object_is_a_400(engine: str, raw: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{engine}/v1/chat/completions", content=raw, headers=headers)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert "body" in error["message"]
    assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "fields",
    [
        {"top_k": 10**12},
        {"top_k": -1},
        {"top_p": 1e-300},
        {"temperature": 1e-300},
        {"temperature": 10},
        {"seed": -(10**30)},
        {"thinking_token_budget": 10**30},
        {"thinking_token_budget": -1},
        {"chat_template_kwargs": {"self": 1, "no name": 2}},
    ],
)
def test_extreme_values_are_served(engine: str, fields: dict[str, Any]) -> None:
    assert ask(engine, max_tokens=30, **({"temperature": 1} | fields)).status_code == 200


def test_harmless_fields_are_ignored(engine: str) -> None:
    neutral: dict[str, Any] = {"tools": [], "presence_penalty": 0, "logit_bias": {}}
    neutral |= {"response_format": None, "include_reasoning": True, "modalities": ["text"]}
    assert ask(engine, **neutral, user="u", metadata={"a": 1}, future=[1]).status_code == 200
    assert ask(engine, model="other").json()["error"]["code"] == "model_not_found"


def test_any_text_is_a_prompt(engine: str) -> None:
    texts = (
        "",
        "\u4f60\u597d\uff0c\u8bf7\u7b97",
        "\U0001f642" * 50,
        "\x00\x01\ufffe",
        "</think><|im_end|>",
    )
    for text in texts:
        answer = ask(engine, text, max_tokens=40)
        assert answer.status_code == 200, answer.text


def test_short_requests_are_not_stuck_behind_long_ones(engine: str) -> None:
    async def run() -> tuple[list[float], list[float]]:
        async with httpx.AsyncClient(timeout=120) as http:

            async def timed(text: str, **fields: Any) -> float:
                answer = await http.post(f"{engine}/v1/chat/completions", json=body(text, **fields))
                assert answer.status_code == 200
                return time.monotonic()

            long = [
                asyncio.create_task(timed(LONG_STORY, reasoning_effort="high", n=4))
                for _ in range(4)
            ]
            await asyncio.sleep(0.05)
            short = [asyncio.create_task(timed(STORY, reasoning_effort="none")) for _ in range(12)]
            return await asyncio.gather(*long), await asyncio.gather(*short)

    long, short = asyncio.run(run())
    assert sorted(short)[len(short) // 2] < sorted(long)[len(long) // 2]


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_its_generation(engine: str, stream: bool) -> None:
    fields = {"stream": stream, "n": 16, "reasoning_effort": "high", "temperature": 1}
    request = body(LONG_STORY, **fields)
    before = gauge(engine, "vllm:generation_tokens_total")
    raw = json.dumps(request).encode()
    host, port = engine.removeprefix("http://").split(":")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(raw)}\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}content-type: application/json\r\n\r\n".encode() + raw)
        until(lambda: gauge(engine, "vllm:generation_tokens_total") > before)
        assert gauge(engine, "vllm:num_requests_running") == 1
    until(lambda: gauge(engine, "vllm:num_requests_running") == 0)
    complete = ask(engine, LONG_STORY, **{**fields, "stream": False}).json()
    # choices that were not cancelled would have taken turns with these, and doubled the tokens
    tokens = complete["usage"]["completion_tokens"]
    assert gauge(engine, "vllm:generation_tokens_total") - before < 1.5 * tokens


def test_a_generation_that_fails_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        def advance(self) -> bool:
            raise TypeError("out of nowhere")

    reported = threading.Event()
    broken: Any = Broken()
    Scheduler(workers=1).start(broken, on_failure=reported.set)
    assert reported.wait(60)
    assert "out of nowhere" in caplog.text


class Repeating:
    """A checkpoint and its decoder: opens a thought of 20 tokens again and again."""

    START, END, EOS, WORD, GAP = 6, 7, 0, 40, 41
    eos = (EOS,)
    block = ReasoningBlock("<think>", "</think>", (50, 51), (END,), (GAP,))

    def __init__(self) -> None:
        self.decoder = self

    def tag_reader(self, in_reasoning: bool) -> TagReader:
        tags = {self.START: self.block.opening, self.END: self.block.closing}
        return TagReader(*tags.values(), in_reasoning, lambda token: tags.get(token, "a"), True)

    def tokens(self, ids: list[int]) -> list[str]:
        return [str(token) for token in ids]

    def run(self, tokens: list[str], max_tokens: int, eos: Any, draw: Any, on_token: Any) -> None:
        for _ in range(max_tokens):
            since = tokens[::-1].index(str(self.START)) if str(self.START) in tokens else 99
            ended = str(self.END) in tokens[len(tokens) - since :]
            token = (
                self.WORD if since < 20 and not ended else self.END if since == 20 else self.START
            )
            if on_token(token, 0.0):
                return


@pytest.mark.parametrize("in_reasoning", [True, False])
@pytest.mark.parametrize(("budget", "thinking"), [(0, 0), (7, 7), (30, 30), (None, 91)])
def test_a_budget_is_for_all_reasoning_blocks_together(
    budget: int | None, thinking: int, in_reasoning: bool
) -> None:
    steps: list[Any] = []
    sampling = Sampling(Draw(0, 1, 0), 100 - in_reasoning, budget, None)
    prompt = [Repeating.START] if in_reasoning else [Repeating.WORD]
    checkpoint: Any = Repeating()
    generation = Generation(checkpoint, prompt, in_reasoning, sampling, steps.append)
    while generation.advance():
        pass
    assert steps.pop() == "length"
    blocks = [step.block for step in steps]
    assert blocks.count("thinking") == thinking
    assert all(step.token in (6, 7) for step in steps if step.block == "tag")
    sentence = [step.token for step in steps if step.token in (50, 51)]
    assert sentence == ([50, 51] if budget == 30 else [])


class Seeding(Repeating):
    """Keeps a weak reference to the decoder of the last seed."""

    def seeded(self, _seed: int, warm_up: Any) -> Repeating:
        decoder = Repeating()
        del decoder.decoder  # itself
        warm_up(decoder)
        self.made = weakref.ref(decoder)
        return decoder


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_choice_frees_the_decoder_of_its_seed_at_its_end(cancelled: bool) -> None:
    checkpoint: Any = Seeding()
    sampling = Sampling(Draw(1, 1, 0), 300, None, seed=5)
    generation = Generation(checkpoint, [Repeating.WORD], False, sampling, lambda _: None)
    assert generation.advance()
    assert checkpoint.made() is not None
    generation.cancelled = cancelled
    assert not generation.advance()
    assert checkpoint.made() is None


def test_draws_without_a_seed_differ_after_those_with_one() -> None:
    folder = ROOT / "models" / "demo" / "ctranslate2"

    def drawn(decoder: Decoder) -> tuple[int, ...]:
        tokens: list[int] = []

        def add(token: int, _: float) -> bool:
            tokens.append(token)
            return False

        decoder.run(["<|im_start|>"], 8, [0], Draw(4, 1, 0), add)
        return tuple(tokens)

    def fresh() -> Decoder:
        return Decoder(folder, 1, 500)

    for seed in (5, -1, 2**32 - 1):
        seeded = [fresh().seeded(seed, drawn) for _ in range(2)]
        assert drawn(seeded[0]) == drawn(seeded[1])
    assert len({drawn(fresh()) for _ in range(4)}) == 4
