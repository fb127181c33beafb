"""Thousands of streams on one worker, in waves: `python -m loadtest.bench.streams`.

Streams come at a steady rate until all are open, with a chunk a second each; memory that does not
come back would show from wave to wave. One wave goes to the engine itself: what it and the
generator, which share a core, add to the times.
"""

import asyncio
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np

from child_python import python_command
from loadtest.bench.generator import Job, generate
from loadtest.bench.peers import gateway
from loadtest.bench.process import await_up, cpu, memory, running

_ENGINE, _GATEWAY = "http://127.0.0.1:8790", "http://127.0.0.1:8800"
_OPENING_SECONDS = 10
_LOOK_SECONDS = 0.2


def _wave(name: str, url: str, pid: int, streams: int) -> str:
    """One wave through a process: what is to be told of it."""
    seconds = 2 * _OPENING_SECONDS
    content = f"Ben has 40 coins. think=5 chunks={seconds - 5} rate=1"
    job = Job(content, streams, streams, rate=streams / _OPENING_SECONDS)
    before, spent = memory(pid), cpu(pid)
    with ThreadPoolExecutor(1) as pool:
        waves = pool.submit(asyncio.run, generate(url, job))
        most = before
        while not waves.done():
            most = max(most, memory(pid))
            time.sleep(_LOOK_SECONDS)
        tally = waves.result()
    spent = cpu(pid) - spent
    ttft = np.quantile(tally.ttft, (0.01, 0.5, 0.99, 1)) * 1e3
    return (
        f"| {name} | {tally.requests} | {tally.errors} "
        f"| {before / 2**20:.0f} / {most / 2**20:.0f} MiB "
        f"| {(most - before) / streams / 1024:.1f} | {' / '.join(f'{t:.1f}' for t in ttft)} "
        f"| {1e6 * spent / tally.chunks:.0f} |"
    )


@click.command(help=__doc__)
@click.option("--streams", type=int, default=2000, show_default=True, metavar="N")
@click.option("--waves", type=int, default=3, show_default=True, metavar="N")
def main(streams: int, waves: int) -> None:
    """Measure, and print a table."""
    fake = python_command("loadtest.fake_engine", "--port", "8790", "--model", "demo")
    print(
        "| through | streams | errors | memory before / at most | KiB a stream "
        "| TTFT p1 / p50 / p99 / max ms | CPU us a chunk |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        with running(fake, "1", scratch / "engine.log") as engine:
            await_up(_ENGINE, engine, scratch / "engine.log")
            command = gateway(_ENGINE, 8800, scratch)
            with running(command, "0", scratch / "gateway.log") as process:
                await_up(_GATEWAY, process, scratch / "gateway.log")
                asyncio.run(generate(_GATEWAY, Job("chunks=1", 200, 8)))
                print(_wave("(engine)", _ENGINE, engine.pid, streams), flush=True)
                for _ in range(waves):
                    wave = _wave("gateway", _GATEWAY, process.pid, streams)
                    print(wave, flush=True)


if __name__ == "__main__":
    main(prog_name="python -m loadtest.bench.streams")
