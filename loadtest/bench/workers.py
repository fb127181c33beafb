"""The throughput of one and of two workers: `python -m loadtest.bench.workers`.

Gateway, engine and load generator share both cores, since two workers leave no core for the others.
The CPU per request of the gateway and of the others shows what each of them takes.
"""

import asyncio
import resource
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click
from tqdm import tqdm

from loadtest.bench.generator import Batch, generate
from loadtest.bench.measurements import ROUNDS
from loadtest.bench.peers import gateway
from loadtest.bench.servers import Server, Servers
from loadtest.process_usage import cpu_seconds
from loadtest.tables import Table

_CORES = "0,1"
_WORKERS = (1, 2)
_REQUESTS, _CLIENTS = 6000, 32
_STORY = "Ben has 40 coins. Ben finds 61 coins. How many coins does Ben have now? think=5 chunks=10"

Sample = tuple[float, float, float]
"""Requests per second; CPU in ms per request of the gateway, and of engine and generator."""


@click.command(help=__doc__)
@click.option("--rounds", type=ROUNDS, default=3, show_default=True, metavar="N")
def main(rounds: int) -> None:
    """Measure all rounds and print the table of their medians."""
    samples: dict[int, list[Sample]] = {workers: [] for workers in _WORKERS}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        engine = Servers(stack, folder).start_fake_engine(_CORES)
        for _ in tqdm(range(rounds), unit="round"):
            for workers in _WORKERS:
                samples[workers].append(_measure(workers, engine, folder))
    header = ("workers", "requests/s", "CPU ms per request", "of engine and generator")
    rows: list[list[str]] = []
    for workers, worker_samples in samples.items():
        columns = zip(*worker_samples, strict=True)
        rate, own, others = (statistics.median(column) for column in columns)
        rows.append([str(workers), f"{rate:,.0f}", f"{own:.2f}", f"{others:.2f}"])
    click.echo(Table(header, rows).markdown())


def _measure(workers: int, engine: Server, folder: Path) -> Sample:
    with ExitStack() as stack:
        server = Servers(stack, folder).start(
            lambda port: [*gateway(engine.url, port, folder), "--workers", str(workers)], _CORES
        )
        asyncio.run(generate(server.url, Batch(_STORY, 400, _CLIENTS, stream=False)))
        before = cpu_seconds(server.pid), cpu_seconds(engine.pid) + _generator_cpu()
        batch = Batch(_STORY, _REQUESTS, _CLIENTS, stream=False)
        tally = asyncio.run(generate(server.url, batch))
        after = cpu_seconds(server.pid), cpu_seconds(engine.pid) + _generator_cpu()
    if tally.errors:
        raise SystemExit(f"bench: {tally.errors} of {tally.requests} requests failed")
    own, others = (1e3 * (b - a) / tally.requests for a, b in zip(before, after, strict=True))
    return tally.requests / tally.seconds, own, others


def _generator_cpu() -> float:
    """Seconds of CPU of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(prog_name="python -m loadtest.bench.workers")
