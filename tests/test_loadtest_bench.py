"""The benchmark's load generator, servers and tables, and the CPU and memory that it reads."""

import asyncio
import os
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack

import pytest
from polling import PATIENCE_SECONDS
from raw_server import raw_server

from loadtest.bench.generator import Batch, generate
from loadtest.bench.servers import Server, Servers
from loadtest.bench.tables import ratio_table, results_table
from loadtest.process_usage import cpu_seconds, open_descriptors, resident_bytes

ALL_CORES = ",".join(map(str, os.sched_getaffinity(0)))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with ExitStack() as stack:
        yield Servers(stack, tmp_path_factory.mktemp("bench")).start_fake_engine(ALL_CORES)


def test_with_a_rate_each_request_waits_for_its_scheduled_time(engine: Server) -> None:
    batch = Batch("think=1 chunks=2", 20, 4, rate=40, fields={"temperature": 0.5})
    tally = asyncio.run(generate(engine.url, batch))
    assert (tally.requests, tally.errors, len(tally.ttft)) == (20, 0, 20)
    assert tally.seconds >= 19 / 40
    assert min(tally.ttft) > 0


def test_the_ttft_of_a_delayed_request_counts_from_its_scheduled_time(engine: Server) -> None:
    tally = asyncio.run(generate(engine.url, Batch("first=0.2 chunks=1", 4, 1, rate=1000)))
    assert max(tally.ttft) >= 4 * 0.2 - 3 / 1000


def test_a_connection_that_the_server_closes_raises() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"

    async def answer_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async def send_two() -> None:
        async with raw_server(answer_and_close) as port, asyncio.timeout(PATIENCE_SECONDS):
            await generate(f"http://127.0.0.1:{port}", Batch("?", 2, 1, rate=5))

    with pytest.raises(ConnectionResetError):
        asyncio.run(send_two())


def test_cpu_and_memory_of_a_process_are_read(engine: Server) -> None:
    before, started = cpu_seconds(os.getpid(), descendants=False), time.process_time()
    while time.process_time() - started < 0.3:
        pass
    assert cpu_seconds(os.getpid(), descendants=False) - before >= 0.2
    assert cpu_seconds(os.getpid()) >= cpu_seconds(engine.pid)
    assert resident_bytes(engine.pid) > 2**20
    assert open_descriptors(engine.pid) > 3


def test_a_server_that_does_not_start_raises_with_the_end_of_its_log(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    words = [sys.executable, "-c", "raise SystemExit('no such engine')"]
    with ExitStack() as stack, pytest.raises(SystemExit, match="no such engine"):
        Servers(stack, tmp_path_factory.mktemp("bench")).start(lambda _: words, ALL_CORES)


def test_the_tables_have_medians_and_ratios_of_the_rounds() -> None:
    row = {"cpu_paced": 40.0, "cpu_saturated": 5.0, "rate": 1e5, "ttft50": 1.0, "ttft99": 2.0}
    open_loop = {"open50": 1.5, "open99": 2.5}
    results = {
        "tops": [{**row, **open_loop, "cpu_request": cpu} for cpu in (0.4, 0.6, 0.9)],
        "peer": [{**row, "cpu_request": 0.3} for _ in range(3)],
    }
    medians, ratios = results_table(results).markdown(), ratio_table(results).markdown()
    assert "| tops | 0.60 | 40 | 5.0 | 100,000 | 1.00 / 2.00 | 1.50 / 2.50 |" in medians
    assert "| peer | 0.30 | 40 | 5.0 | 100,000 | 1.00 / 2.00 |  |" in medians
    assert "| peer | 2.00 (1.33, 2.00, 3.00) | 1.00 (1.00, 1.00, 1.00) |" in ratios
