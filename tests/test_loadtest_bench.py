"""The benchmark's own parts: what it asks, when, and how it reads processes."""

import asyncio
import os
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from loadtest.bench.generator import Job, generate
from loadtest.bench.process import await_up, cpu, memory, running
from server.engines.supervisor import free_port


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[str, int]]:
    port, log = free_port(), tmp_path_factory.mktemp("bench") / "engine.log"
    words = [sys.executable, "-m", "loadtest.fake_engine", "--port", str(port), "--model", "demo"]
    cores = ",".join(map(str, os.sched_getaffinity(0)))
    with running(words, cores, log) as process:
        await_up(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}", process.pid


def test_with_a_rate_each_request_waits_until_it_is_due(engine: tuple[str, int]) -> None:
    job = Job("think=1 chunks=2", 20, 4, rate=40, more={"temperature": 0.5})
    tally = asyncio.run(generate(engine[0], job))
    assert (tally.requests, tally.errors, len(tally.ttft)) == (20, 0, 20)
    assert tally.seconds >= 19 / 40
    assert min(tally.ttft) > 0


def test_a_request_that_is_late_counts_from_when_it_was_due(engine: tuple[str, int]) -> None:
    tally = asyncio.run(generate(engine[0], Job("first=0.2 chunks=1", 4, 1, rate=1000)))
    assert max(tally.ttft) >= 4 * 0.2 - 3 / 1000


def test_a_connection_that_was_not_kept_is_told() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def asked() -> None:
        async with await asyncio.start_server(once, "127.0.0.1") as server:
            host, port = server.sockets[0].getsockname()
            async with asyncio.timeout(5):
                await generate(f"http://{host}:{port}", Job("?", 2, 1, rate=5))

    with pytest.raises(ConnectionResetError):
        asyncio.run(asked())


def test_cpu_and_memory_of_a_process_are_read(engine: tuple[str, int]) -> None:
    before, began = cpu(os.getpid(), family=False), time.process_time()
    while time.process_time() - began < 0.3:
        pass
    assert cpu(os.getpid(), family=False) - before >= 0.2
    assert cpu(os.getpid()) >= cpu(engine[1])
    assert memory(engine[1]) > 2**20


def test_what_does_not_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = [sys.executable, "-c", "raise SystemExit('no such engine')"]
    cores = ",".join(map(str, os.sched_getaffinity(0)))
    with (
        running(words, cores, log) as process,
        pytest.raises(SystemExit, match="no such engine"),
    ):
        await_up(f"http://127.0.0.1:{free_port()}", process, log)
