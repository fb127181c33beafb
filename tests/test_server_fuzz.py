"""Random requests and random streams through the gateway, against the engine alone.

`make fuzz` sends 20,000 requests and 5,000 streams; the tests a small part of them.
"""

from __future__ import annotations  # openai is loaded when it is used

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from clients import openai
from fuzz_engine import FuzzEngine, fuzz_engine
from fuzz_requests import random_request
from fuzz_streams import StreamScript, stream_script

from loadtest.chaos.gateway_process import GatewayProcess
from loadtest.chaos.processes import wait_until_ready

pytestmark = pytest.mark.slow

STREAMS = int(os.environ.get("FUZZ_STREAMS", "100"))
REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "200"))
FIRST_SEED = int(os.environ.get("FUZZ_SEED", "0"))
CONCURRENCY = 16
SECONDS = 60
"""The longest that one request may take beside others on a busy machine."""

Seen = dict[str, dict[int, str]]


@asynccontextmanager
async def gateway_and_engine(folder: Path) -> AsyncGenerator[tuple[GatewayProcess, FuzzEngine]]:
    async with fuzz_engine() as engine:
        gateway = GatewayProcess(folder, engine.url, 5)
        try:
            await wait_until_ready(gateway)
            yield gateway, engine
        finally:
            gateway.process.terminate()
            await gateway.wait(60)


async def for_each_seed(count: int, check: Callable[[int], Awaitable[None]]) -> None:
    seeds = iter(range(FIRST_SEED, FIRST_SEED + count))

    async def work() -> None:
        for seed in seeds:
            try:
                await asyncio.wait_for(check(seed), SECONDS)
            except Exception as error:
                error.add_note(f"seed {seed}")
                raise

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(work())


async def read(client: openai.AsyncOpenAI, seed: int, script: StreamScript) -> Seen | None:
    """What a client sees of a stream by kind of text and choice; None where it sees an error."""
    seen: Seen = {"reasoning": {}, "content": {}, "finish": {}, "usage": {}}
    fields: dict[str, Any] = {"n": script.choices}
    if script.include_usage:
        fields["stream_options"] = {"include_usage": True}
    try:
        stream = await client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": f"seed {seed}"}],
            stream=True,
            extra_headers={"x-request-id": f"stream-{seed}"},
            **fields,
        )
        async for chunk in stream:
            if chunk.usage is not None:
                seen["usage"][0] = str(chunk.usage.completion_tokens)
            for choice in chunk.choices or []:
                delta: dict[str, Any] = choice.delta.model_dump()
                thought = delta.get("reasoning") or delta.get("reasoning_content") or ""
                for kind, text in (("reasoning", thought), ("content", delta.get("content") or "")):
                    seen[kind][choice.index] = seen[kind].get(choice.index, "") + text
                if choice.finish_reason:
                    seen["finish"][choice.index] = choice.finish_reason
    except openai.APIError:
        return None
    return seen


def test_clients_see_the_streams_that_the_engine_sent(tmp_path: Path) -> None:
    scripts = {seed: stream_script(seed) for seed in range(FIRST_SEED, FIRST_SEED + STREAMS)}

    async def run() -> GatewayProcess:
        async with (
            gateway_and_engine(tmp_path) as (gateway, engine),
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="-", max_retries=0) as client,
            openai.AsyncOpenAI(base_url=f"{engine.url}/v1", api_key="-", max_retries=0) as direct,
        ):

            async def check(seed: int) -> None:
                script = scripts[seed]
                seen = await read(client, seed, script)
                if script.ending != "complete":
                    assert seen is None, "an incomplete stream was passed on as a complete one"
                    return
                assert seen is not None, "a complete stream was passed on as a failed one"
                expected = await read(direct, seed, script)
                assert expected is not None
                for kind in ("reasoning", "content", "finish"):
                    assert seen[kind] == expected[kind] == getattr(script, kind), kind
                wanted = script.usage is not None and script.include_usage
                assert bool(seen["usage"]) == wanted
                if script.usage and wanted:
                    assert seen["usage"][0] == str(sum(script.usage))

            await for_each_seed(STREAMS, check)
        return gateway

    gateway = asyncio.run(run())
    assert gateway.log_errors == []
    closed = {request.request_id: request for request in gateway.closed}
    for seed, script in scripts.items():
        request = closed[f"stream-{seed}"]
        if script.ending == "complete":
            assert request.status == 200, seed
            assert (request.thinking, request.answer) == (script.usage or (None, None)), seed
        else:
            assert request.status >= 500, seed
    ledger = gateway.ledger()
    assert {name: ledger.get(name) for name in closed if closed[name].decided} == ledger


def test_random_requests_are_answered_or_refused_and_counted(tmp_path: Path) -> None:
    statuses: dict[str, int] = {}

    async def run() -> tuple[GatewayProcess, FuzzEngine, float]:
        async with (
            gateway_and_engine(tmp_path) as (gateway, engine),
            httpx.AsyncClient(base_url=gateway.url, timeout=SECONDS) as http,
        ):

            async def check(seed: int) -> None:
                path, body = random_request(seed)
                headers = {"x-request-id": f"request-{seed}", "content-type": "application/json"}
                answer = await http.post(path, content=body, headers=headers)
                statuses[f"request-{seed}"] = answer.status_code
                assert answer.status_code in (200, 400, 404, 413, 422), (path, body, answer.text)
                kind = answer.headers["content-type"]
                assert kind.startswith(("application/json", "text/event-stream")), (path, body)
                if answer.status_code != 200:
                    assert answer.json()["error"]["message"], (path, body)
                elif kind.startswith("text/event-stream"):
                    assert '"error"' not in answer.text, (path, body, answer.text)

            await for_each_seed(REQUESTS, check)
            metrics = await gateway.metrics(http)
        return gateway, engine, metrics["tops_in_flight"]

    gateway, engine, in_flight = asyncio.run(run())
    assert (in_flight, gateway.log_errors) == (0, [])
    closed = {request.request_id: request for request in gateway.closed}
    logged = {name: status for name, status in statuses.items() if name in closed}
    assert logged == {name: closed[name].status for name in logged}  # not of feedback, route
    assert len(logged) > 0.7 * len(statuses)
    for name, status in logged.items():
        if status == 200 and closed[name].decided and name in engine.sent:
            assert [closed[name].thinking, closed[name].answer] == engine.sent[name], name
    answered = sum(status == 200 for status in statuses.values())
    assert 0.1 < answered / len(statuses) < 0.95, "the requests are all right or all wrong"


@pytest.mark.parametrize("ending", ["complete", "failed", "cut"])
def test_every_ending_is_among_the_scripts(ending: str) -> None:
    assert any(stream_script(seed).ending == ending for seed in range(100))
