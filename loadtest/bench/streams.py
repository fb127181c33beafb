"""Thousands of concurrent streams on one worker, in waves: `python -m loadtest.bench.streams`.

The streams of a wave start at a steady rate until all are open, with a chunk per second each.
Memory that is not released would grow from wave to wave. A wave sent directly to the engine shows
what the engine and the load generator, which share a core, add to the TTFT.
"""

import asyncio
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import click
import numpy as np

from loadtest.bench.generator import Batch, generate
from loadtest.bench.peers import gateway
from loadtest.bench.servers import Server, Servers
from loadtest.process_usage import cpu_seconds, resident_bytes

_OPENING_SECONDS = 10
_SAMPLE_SECONDS = 0.2
_HEADER = (
    "| through | streams | errors | memory before / peak | KiB per stream "
    "| TTFT p1 / p50 / p99 / max ms | CPU us per chunk |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)


@click.command(help=__doc__)
@click.option("--streams", type=int, default=2000, show_default=True, metavar="N")
@click.option("--waves", type=int, default=3, show_default=True, metavar="N")
def main(streams: int, waves: int) -> None:
    """Measure all waves and print a line of the table for each."""
    click.echo(_HEADER)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        servers = Servers(stack, folder)
        engine = servers.start_fake_engine("1")
        server = servers.start(lambda port: gateway(engine.url, port, folder), "0")
        asyncio.run(generate(server.url, Batch("chunks=1", 200, 8)))
        click.echo(_wave("(engine)", engine, streams))
        for _ in range(waves):
            click.echo(_wave("gateway", server, streams))


def _wave(name: str, server: Server, streams: int) -> str:
    """Send a wave; returns its line of the table."""
    chunks = 2 * _OPENING_SECONDS - 5
    content = f"Ben has 40 coins. think=5 chunks={chunks} rate=1"
    batch = Batch(content, streams, streams, rate=streams / _OPENING_SECONDS)
    memory_before, cpu_before = resident_bytes(server.pid), cpu_seconds(server.pid)
    with ThreadPoolExecutor(1) as pool:
        wave = pool.submit(asyncio.run, generate(server.url, batch))
        peak = memory_before
        while not wave.done():
            peak = max(peak, resident_bytes(server.pid))
            time.sleep(_SAMPLE_SECONDS)
        tally = wave.result()
    seconds = cpu_seconds(server.pid) - cpu_before
    ttft = np.quantile(tally.ttft, (0.01, 0.5, 0.99, 1)) * 1e3
    return (
        f"| {name} | {tally.requests} | {tally.errors} "
        f"| {memory_before / 2**20:.0f} / {peak / 2**20:.0f} MiB "
        f"| {(peak - memory_before) / streams / 1024:.1f} "
        f"| {' / '.join(f'{ms:.1f}' for ms in ttft)} | {1e6 * seconds / tally.chunks:.0f} |"
    )


if __name__ == "__main__":
    main(prog_name="python -m loadtest.bench.streams")
