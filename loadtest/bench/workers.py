"""What a second worker brings: `python -m loadtest.bench.workers`.

The gateway, the engine and the generator share both cores here, as nothing is left for them where
two workers have a core each; so CPU a request is told too, of the gateway and of the others.
"""

import asyncio
import resource
import statistics
import tempfile
from pathlib import Path

import click

from child_python import python_command
from loadtest.bench.generator import Job, generate
from loadtest.bench.peers import gateway
from loadtest.bench.process import await_up, cpu, running

_ENGINE = "http://127.0.0.1:8790"
_REQUESTS, _CLIENTS = 6000, 32
_STORY = "Ben has 40 coins. Ben finds 61 coins. How many coins does Ben have now? think=5 chunks=10"


def _ours() -> float:
    """Seconds of CPU of this process, which is the generator."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _one(workers: int, engine: int, port: int, scratch: Path) -> tuple[float, float, float]:
    """Requests a second; milliseconds of CPU a request, of the gateway and of the others."""
    url, log = f"http://127.0.0.1:{port}", scratch / "gateway.log"
    command = [*gateway(_ENGINE, port, scratch), "--workers", str(workers)]
    with running(command, "0,1", log) as process:
        await_up(url, process, log)
        asyncio.run(generate(url, Job(_STORY, 400, _CLIENTS, stream=False)))
        before = cpu(process.pid), cpu(engine) + _ours()
        tally = asyncio.run(generate(url, Job(_STORY, _REQUESTS, _CLIENTS, stream=False)))
        after = cpu(process.pid), cpu(engine) + _ours()
    if tally.errors:
        raise SystemExit(f"bench: {tally.errors} of {tally.requests} requests failed")
    spent = [1e3 * (b - a) / tally.requests for a, b in zip(before, after, strict=True)]
    return tally.requests / tally.seconds, spent[0], spent[1]


@click.command(help=__doc__)
@click.option("--rounds", type=int, default=3, show_default=True, metavar="N")
def main(rounds: int) -> None:
    """Measure, and print a table."""
    found: dict[int, list[tuple[float, float, float]]] = {1: [], 2: []}
    fake = python_command("loadtest.fake_engine", "--port", "8790", "--model", "demo")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        with running(fake, "0,1", scratch / "engine.log") as engine:
            await_up(_ENGINE, engine, scratch / "engine.log")
            for place in range(2 * rounds):
                workers = 1 + place % 2
                found[workers].append(_one(workers, engine.pid, 8800 + place, scratch))
    print("| workers | requests a second | CPU ms a request | of engine and generator |")
    print("| --- | --- | --- | --- |")
    for workers, samples in found.items():
        rate, own, others = (statistics.median(column) for column in zip(*samples, strict=True))
        print(f"| {workers} | {rate:,.0f} | {own:.2f} | {others:.2f} |")


if __name__ == "__main__":
    main(prog_name="python -m loadtest.bench.workers")
