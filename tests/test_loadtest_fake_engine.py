"""The fake engine follows its scripts, and a gateway in front of it ends every request once."""

import asyncio
import json
import random
import re
import sys
import time
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest
from engines import await_health, scripted, started
from polling import PATIENCE_SECONDS
from processes import serving

from loadtest.bench.generator import Batch, generate
from loadtest.fake_engine.script import read_script
from server.engines.supervisor import free_port


@pytest.fixture(scope="module")
def engine() -> Generator[str]:
    with scripted() as url:
        yield url


def ask(url: str, content: str, stream: bool = True) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": content}], "stream": stream}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)


def test_scripts_are_parsed_and_other_words_ignored() -> None:
    script = read_script("Ben has 3 coins. think=7 chunks=9 rate=2.5 stall=1@4 endless nonsense=5")
    assert (script.think, script.chunks, script.rate) == (7, 9, 2.5)
    assert (script.stall, script.at, script.endless) == (1.0, 4, True)
    script = read_script("an error is no error=500... but error@3 is one")
    assert (script.error, script.at) == (500, 3)
    assert read_script("the first error, at a rate of 5").error == 0
    assert read_script("error=503").error == 503


@pytest.mark.parametrize("stream", [True, False])
def test_it_answers_in_vllm_s_dialect(engine: str, stream: bool) -> None:
    answer = ask(engine, "think=7 chunks=9", stream)
    if not stream:
        usage = answer.json()["usage"]
    else:
        events = [json.loads(line[6:]) for line in answer.text.split("\n\n")[:-2]]
        deltas = [event["choices"][0]["delta"] for event in events if event["choices"]]
        assert sum("reasoning" in delta for delta in deltas) == 7
        assert sum(delta.get("content") == "word " for delta in deltas) == 9
        usage = events[-1]["usage"]
        assert answer.text.endswith("data: [DONE]\n\n")
    assert usage["completion_tokens"] == 16
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 7


def test_the_script_may_be_in_parts(engine: str) -> None:
    """guidellm 0.8.1 and others send the text of a message as a part."""
    parts = [{"type": "text", "text": "think=7"}, {"type": "text", "text": "chunks=9"}]
    body = {"messages": [{"role": "user", "content": parts}]}
    answer = httpx.post(f"{engine}/v1/chat/completions", json=body).json()
    assert answer["usage"]["completion_tokens"] == 16


def test_it_fails_on_command(engine: str) -> None:
    assert ask(engine, "error=503").status_code == 503
    assert httpx.post(f"{engine}/v1/chat/completions", json={"messages": ["x"]}).status_code == 400
    assert "scripted" in ask(engine, "error@5").text
    assert '"usage"' not in ask(engine, "bare").text
    with pytest.raises(httpx.RemoteProtocolError):
        ask(engine, "die")
    with pytest.raises(httpx.RemoteProtocolError):
        ask(engine, "die@5")


def test_the_log_has_how_each_request_ended(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "log.jsonl"
    words = ["-m", "loadtest.fake_engine", "--port", str(port), "--log", str(file)]
    with started([sys.executable, *words]) as process:
        url = f"http://127.0.0.1:{port}"
        await_health(url, process, 20)
        for content in ("think=7 chunks=9", "bare", "error=503", "error@5"):
            body = {"messages": [{"role": "user", "content": content}], "stream": True}
            headers = {"x-request-id": content}
            httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers)
        body = {"messages": [{"role": "user", "content": "endless rate=50"}], "stream": True}
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
            next(answer.iter_raw())
        deadline = time.monotonic() + PATIENCE_SECONDS
        while file.read_bytes().count(b"\n") < 7:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(row["request_id"], row["event"]) for row in rows] == [
        ("think=7 chunks=9", "completing"),
        ("think=7 chunks=9", "complete"),
        ("bare", "completing"),
        ("bare", "complete"),
        ("error=503", "broken"),
        ("error@5", "broken"),
        ("", "disconnected"),
    ]
    assert [rows[n]["usage"]["completion_tokens"] for n in (0, 1)] == [16, 16]
    assert rows[2]["usage"] is None


def test_the_generator_counts_what_the_engine_sent(engine: str) -> None:
    tally = asyncio.run(generate(engine, Batch("think=3 chunks=5", 40, 8)))
    assert (tally.requests, tally.errors, len(tally.ttft)) == (40, 0, 40)
    assert tally.chunks == 40 * (3 + 5 + 2)  # the finish and the usage are events too


def test_every_request_ends_once_whatever_the_engine_does(engine: str) -> None:
    rng = random.Random(4)
    scripts = ["chunks=30", "stall=0.3@9", "error=500", "error@5", "die", "die@5", "first=0.2"]
    requests = [(rng.choice(scripts), rng.random() < 0.7) for _ in range(120)]

    async def run(url: str) -> list[httpx.Response]:
        slots = asyncio.Semaphore(16)
        async with httpx.AsyncClient(timeout=60) as http:

            async def send(content: str, stream: bool) -> httpx.Response:
                body = {"messages": [{"role": "user", "content": content}], "stream": stream}
                async with slots:
                    return await http.post(f"{url}/v1/chat/completions", json=body)

            return await asyncio.gather(*(send(*each) for each in requests))

    with serving("--upstream", engine) as server:
        answers = asyncio.run(run(server.url))
        metrics = httpx.get(f"{server.url}/metrics").text
    for (content, stream), answer in zip(requests, answers, strict=True):
        ended = answer.text.count("[DONE]") + answer.text.count('"error":')
        complete = answer.status_code == 200 and not stream
        assert ended == (0 if complete else 1), (content, stream, answer.text[-200:])
        if content in ("chunks=30", "stall=0.3@9", "first=0.2"):
            assert answer.status_code == 200
    assert re.search(r"^tops_in_flight 0\.0$", metrics, re.MULTILINE)
    counted = re.findall(r"^tops_requests_total\{.*\} ([\d.]+)$", metrics, re.MULTILINE)
    assert sum(map(float, counted)) == len(requests)
