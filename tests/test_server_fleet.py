"""Several engines for one model: who gets what, and what happens when one dies under load."""

import asyncio
import hashlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from engines import BOTH, Running, running
from processes import Server, serving

from server.engines.dialect import DIALECTS
from server.engines.engine import Engine
from server.engines.fleet import Fleet
from server.observe.metrics import Metrics

STORY = (
    "Ben has 40 coins. Ben finds 61 coins. Ben loses 17 coins. Ben sells 38 of the coins. Then Ben "
    "wins 77 coins. Ben buys 25 more coins. How many coins does Ben have now?"
)


def fleet(count: int) -> tuple[Fleet, list[Engine]]:
    engines = [Engine(f"http://127.0.0.1:{port}", None, 1) for port in range(1, count + 1)]
    for engine in engines:
        engine.up = True
    return Fleet(engines, DIALECTS["vllm"], "m", "high", Metrics()), engines


def pick(fleet: Fleet, conversation: str | None, tried: tuple[Engine, ...] = ()) -> Engine:
    return fleet._pick(conversation, tried)  # pyright: ignore[reportPrivateUsage]


def names(count: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]


def test_a_conversation_keeps_its_engine_and_conversations_spread() -> None:
    several, engines = fleet(4)
    owners = [pick(several, name) for name in names(400)]
    assert owners == [pick(several, name) for name in names(400)]
    assert all(60 < count < 140 for count in Counter(owners).values())
    engines[0].up = False
    moved = [pick(several, name) for name in names(400)]
    assert all(new is old for new, old in zip(moved, owners, strict=True) if old.up)
    assert engines[0] not in moved


def test_a_busy_engine_lends_its_conversations_to_the_least_loaded() -> None:
    several, engines = fleet(3)
    own = pick(several, "a")
    own.in_flight = 3
    for engine in engines:
        engine.in_flight += 1
    others = [engine for engine in engines if engine is not own]
    others[1].in_flight += 1
    assert pick(several, "a") is others[0]
    assert pick(several, None) is others[0]


def test_no_engine_is_asked_twice_and_one_that_is_down_only_where_all_are() -> None:
    several, engines = fleet(3)
    first = pick(several, "a")
    assert pick(several, "a", (first,)) is not first
    engines[0].up = engines[1].up = False
    assert pick(several, "a") is engines[2]
    assert pick(several, "a", (engines[2],)) in engines[:2]


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Generator[tuple[Running, Running]]:
    """An engine of the kind asked for, and an embedded one."""
    with ExitStack() as stack:
        kinds = (getattr(request, "param", "embedded"), "embedded")
        one, other = (stack.enter_context(running(kind)) for kind in kinds)
        yield one, other


def state(server: Server) -> dict[str, bool]:
    engines = httpx.get(f"{server.url}/ready").json()["engines"]
    return {one["engine"]: one["up"] for one in engines}


def await_up(server: Server, count: int) -> None:
    deadline = time.monotonic() + 20
    while sum(state(server).values()) != count:
        assert time.monotonic() < deadline, state(server)
        time.sleep(0.1)


@pytest.mark.parametrize("pair", BOTH, indirect=True)
def test_an_engine_that_dies_under_load_loses_nothing_that_had_no_byte_yet(
    pair: tuple[Running, Running],
) -> None:
    one, other = pair
    answers: list[tuple[float, float, int, str]] = []
    stop = threading.Event()

    async def load(url: str) -> None:
        rng = random.Random(2)
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:

            async def client(number: int) -> None:
                while not stop.is_set():
                    stream = rng.random() < 0.5
                    text = f"{rng.randint(1, 99)} pens. {STORY}"
                    body: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
                    body |= {"stream": stream, "reasoning_effort": rng.choice(["low", "high"])}
                    begun = time.monotonic()
                    answer = await http.post("/v1/chat/completions", json=body)
                    ended = time.monotonic()
                    answers.append((begun, ended - begun, answer.status_code, answer.text))

            await asyncio.gather(*map(client, range(8)))

    with serving("--upstream", one.url, "--upstream", other.url) as server:
        await_up(server, 2)
        thread = threading.Thread(target=lambda: asyncio.run(load(server.url)))
        thread.start()
        time.sleep(4)
        killed = time.monotonic()
        one.kill()
        time.sleep(12)
        stop.set()
        thread.join()
        metrics = httpx.get(f"{server.url}/metrics").text
        assert state(server) == {one.url[7:]: False, other.url[7:]: True}
    assert {status for _, _, status, _ in answers} == {200}
    broken = [text for _, _, _, text in answers if '"error"' in text]
    assert all('"error"' in text.strip().splitlines()[-1] for text in broken)
    assert len(broken) <= 8
    whole = [text for _, _, _, text in answers if '"error"' not in text]
    assert all("tops" in text for text in whole)
    retries = next(line for line in metrics.splitlines() if line.startswith("tops_engine_retries"))
    assert float(retries.split()[1]) + len(broken) > 0
    before = [seconds for begun, seconds, _, _ in answers if begun < killed - 1]
    later = [seconds for begun, seconds, _, _ in answers if begun > killed + 5]
    print(f"p99 before {p99(before):.2f} s, from 5 s after the death on {p99(later):.2f} s")
    assert len(later) > 20
    assert p99(later) < 5


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(0.99 * len(seconds))]


def test_an_engine_that_comes_back_is_proven_again_and_used(
    pair: tuple[Running, Running],
) -> None:
    one, other = pair
    port = int(one.url.rpartition(":")[2])
    with serving("--upstream", f"{one.url},{other.url}") as server:
        await_up(server, 2)
        one.kill()
        for _ in range(6):
            body = {"messages": [{"role": "user", "content": STORY}]}
            answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=30)
            assert answer.status_code == 200
        await_up(server, 1)
        with running("embedded", port=port):
            await_up(server, 2)
            ups = [json.loads(line) for line in server.lines if '"engine up"' in line]
            again = [up for up in ups if up["engine"] == one.url[7:]]
            assert len(again) == 2
            assert (
                again[1]["canary"] == "the engine answered a budget of 16 with 16 thinking tokens"
            )


def test_engines_of_another_model_are_not_used(pair: tuple[Running, Running]) -> None:
    one, _ = pair
    with running("embedded", "--served-model-name", "another") as stranger:
        urls = ("--upstream", one.url, "--upstream", stranger.url)
        with serving(*urls, "--model", "demo") as server:
            assert state(server) == {one.url[7:]: True, stranger.url[7:]: False}
