"""Several engines for one model: the choice for each request, and failover under load."""

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
from polling import PATIENCE_SECONDS, until
from processes import Server, serving

from server.engines.dialect import DIALECTS
from server.engines.engine import Engine
from server.engines.fleet import Fleet
from server.observe.metrics import Metrics

STORY = (
    "Ben has 40 coins. Ben finds 61 coins. Ben loses 17 coins. Ben sells 38 of the coins. Then Ben "
    "wins 77 coins. Ben buys 25 more coins. How many coins does Ben have now?"
)


def fleet_of(count: int) -> tuple[Fleet, list[Engine]]:
    engines = [Engine(f"http://127.0.0.1:{port}", None, 1) for port in range(1, count + 1)]
    for engine in engines:
        engine.up = True
    return Fleet(engines, DIALECTS["vllm"], "m", "high", Metrics()), engines


def pick(fleet: Fleet, conversation: str | None, tried: tuple[Engine, ...] = ()) -> Engine:
    return fleet._pick(conversation, tried)  # pyright: ignore[reportPrivateUsage]


def conversations(count: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]


def test_a_conversation_keeps_its_engine_and_conversations_spread() -> None:
    fleet, engines = fleet_of(4)
    owners = [pick(fleet, name) for name in conversations(400)]
    assert owners == [pick(fleet, name) for name in conversations(400)]
    assert all(60 < count < 140 for count in Counter(owners).values())
    engines[0].up = False
    moved = [pick(fleet, name) for name in conversations(400)]
    assert all(new is old for new, old in zip(moved, owners, strict=True) if old.up)
    assert engines[0] not in moved


def test_a_busy_engine_s_conversations_go_to_the_least_loaded() -> None:
    fleet, engines = fleet_of(3)
    preferred = pick(fleet, "a")
    preferred.in_flight = 3
    for engine in engines:
        engine.in_flight += 1
    others = [engine for engine in engines if engine is not preferred]
    others[1].in_flight += 1
    assert pick(fleet, "a") is others[0]
    assert pick(fleet, None) is others[0]


def test_retries_go_to_another_engine_and_to_one_that_is_down_only_if_all_are() -> None:
    fleet, engines = fleet_of(3)
    preferred = pick(fleet, "a")
    assert pick(fleet, "a", (preferred,)) is not preferred
    engines[0].up = engines[1].up = False
    assert pick(fleet, "a") is engines[2]
    assert pick(fleet, "a", (engines[2],)) in engines[:2]


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Generator[tuple[Running, Running]]:
    """An engine of the requested kind, and an embedded one."""
    with ExitStack() as stack:
        kinds = (getattr(request, "param", "embedded"), "embedded")
        doomed, survivor = (stack.enter_context(running(kind)) for kind in kinds)
        yield doomed, survivor


def state(server: Server) -> dict[str, bool]:
    engines = httpx.get(f"{server.url}/ready").json()["engines"]
    return {engine["engine"]: engine["up"] for engine in engines}


def await_up(server: Server, count: int) -> None:
    until(lambda: sum(state(server).values()) == count)


@pytest.mark.parametrize("pair", BOTH, indirect=True)
def test_an_engine_that_dies_under_load_loses_nothing_that_had_no_byte_yet(
    pair: tuple[Running, Running],
) -> None:
    doomed, survivor = pair
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
                    await asyncio.sleep(0.1)  # under load, and not at its limit

            await asyncio.gather(*map(client, range(8)))

    with serving("--upstream", doomed.url, "--upstream", survivor.url) as server:
        await_up(server, 2)
        thread = threading.Thread(target=lambda: asyncio.run(load(server.url)))
        thread.start()
        until(lambda: len(answers) >= 20)
        killed = time.monotonic()
        doomed.kill()
        until(lambda: sum(begun > killed + 5 for begun, *_ in answers) > 20)
        stop.set()
        thread.join()
        metrics = httpx.get(f"{server.url}/metrics").text
        assert state(server) == {doomed.url[7:]: False, survivor.url[7:]: True}
    assert {status for _, _, status, _ in answers} == {200}
    broken = [text for _, _, _, text in answers if '"error"' in text]
    assert all('"error"' in text.strip().splitlines()[-1] for text in broken)
    assert len(broken) <= 8
    complete = [text for _, _, _, text in answers if '"error"' not in text]
    assert all("tops" in text for text in complete)
    retries = next(line for line in metrics.splitlines() if line.startswith("tops_engine_retries"))
    assert float(retries.split()[1]) + len(broken) > 0
    before = [seconds for begun, seconds, _, _ in answers if begun + seconds < killed]
    after = [seconds for begun, seconds, _, _ in answers if begun > killed + 5]
    print(f"p99 before {p99(before):.2f} s, from 5 s after the death on {p99(after):.2f} s")
    assert p99(after) < PATIENCE_SECONDS / 3, "requests waited for the engine that is gone"


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(0.99 * len(seconds))]


def test_an_engine_that_comes_back_is_proven_again_and_used(
    pair: tuple[Running, Running],
) -> None:
    doomed, survivor = pair
    port = int(doomed.url.rpartition(":")[2])
    with serving("--upstream", f"{doomed.url},{survivor.url}") as server:
        await_up(server, 2)
        doomed.kill()
        for _ in range(6):
            body = {"messages": [{"role": "user", "content": STORY}]}
            answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
            assert answer.status_code == 200
        await_up(server, 1)
        with running("embedded", port=port):
            await_up(server, 2)
            until(lambda: len(starts(server, doomed)) == 2)
            assert (
                starts(server, doomed)[1]["canary"]
                == "the engine answered a budget of 16 with 16 thinking tokens"
            )


def starts(server: Server, engine: Running) -> list[dict[str, Any]]:
    """What the gateway has logged at each time that it found the engine up."""
    ups = [json.loads(line) for line in list(server.lines) if '"engine up"' in line]
    return [up for up in ups if up["engine"] == engine.url[7:]]


def test_engines_of_another_model_are_not_used(pair: tuple[Running, Running]) -> None:
    engine, _ = pair
    with running("embedded", "--served-model-name", "another") as stranger:
        urls = ("--upstream", engine.url, "--upstream", stranger.url)
        with serving(*urls, "--model", "demo") as server:
            assert state(server) == {engine.url[7:]: True, stranger.url[7:]: False}
