"""What the gateway costs, beside its peers, in one run: `python -m loadtest.bench`.

CPU is the process's own clock (and its children's) divided by the work done: the least noisy figure
on a shared machine. All of them are up at once on core 0, each in turn gets a few seconds of each
kind of load, and ratios are of neighbours in time; the fake engine and the generator share core 1.
Everything of the gateway is on: estimate, decision, holdout, audit, metrics, ledger.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from child_python import python_command
from loadtest.bench.generator import Job, Tally, generate
from loadtest.bench.peers import Peer, peers
from loadtest.bench.process import Starter, cpu

_PROMPT = (
    "Ben has 40 coins. Ben finds 61 coins. Ben loses 17 coins. Ben sells 38 of the coins. Then Ben "
    "wins 77 coins. How many coins does Ben have now? "
)
_OPEN_RATE = 50
_SETTLE_SECONDS = 0.5
"""What is left to do when the last answer is out, such as writing a ledger, counts too."""

_COLUMNS = (
    *("cpu_request", "cpu_paced", "cpu_saturated", "rate"),
    *("ttft50", "ttft99", "open50", "open99"),
)

Row = dict[str, float]


@dataclass(frozen=True)
class _Running:
    """A peer that is up, and the engine behind it."""

    peer: Peer
    pid: int
    url: str
    engine: str

    def spend(self, job: Job) -> tuple[float, Tally]:
        """Seconds of CPU that a job takes it, and what came back."""
        before = cpu(self.pid)
        tally = asyncio.run(generate(self.url, job, "unused"))
        time.sleep(_SETTLE_SECONDS)
        if tally.errors:
            failed = f"{tally.errors} of {tally.requests} requests failed"
            raise SystemExit(f"bench: {failed} at {self.peer.name}")
        return cpu(self.pid) - before, tally


def _requests(one: _Running) -> Row:
    """Milliseconds of CPU a request."""
    whole = Job(_PROMPT + "think=5 chunks=10", max(100, int(4000 * one.peer.load)), 16, False)
    spent, tally = one.spend(whole)
    return {"cpu_request": 1e3 * spent / tally.requests}


def _paced(one: _Running) -> Row:
    """Microseconds of CPU a chunk of streams as an engine's."""
    streams = max(2, int(32 * one.peer.load))
    spent, tally = one.spend(Job(_PROMPT + "think=50 chunks=450 rate=50", streams, streams))
    return {"cpu_paced": 1e6 * spent / tally.chunks}


def _saturated(one: _Running) -> Row:
    """The same of streams as fast as they go, and chunks a second."""
    long = max(100, int(4000 * one.peer.load))
    spent, tally = one.spend(Job(_PROMPT + f"think=50 chunks={long}", 32, 16))
    return {"cpu_saturated": 1e6 * spent / tally.chunks, "rate": tally.chunks / tally.seconds}


def _idle(one: _Running) -> Row:
    """Milliseconds that one request at a time waits longer than straight at the engine."""
    added: list[float] = []
    for _ in range(4):
        short = Job(_PROMPT + "think=1 chunks=1", 50, 1)
        direct = asyncio.run(generate(one.engine, short)).ttft
        ours = asyncio.run(generate(one.url, short, "unused")).ttft
        added += [mine - statistics.median(direct) for mine in ours]
    median, high = np.quantile(added, (0.5, 0.99))
    return {"ttft50": 1e3 * float(median), "ttft99": 1e3 * float(high)}


def _open(one: _Running) -> Row:
    """The same at a rate that does not wait for answers; a slow peer would only queue."""
    if one.peer.load < 0.5:
        return {}
    steady = Job(_PROMPT + "think=5 chunks=20 rate=100", 10 * _OPEN_RATE, 64, rate=_OPEN_RATE)
    direct = asyncio.run(generate(one.engine, steady)).ttft
    ours = asyncio.run(generate(one.url, steady, "unused")).ttft
    median, high = np.quantile(ours, (0.5, 0.99)) - np.quantile(direct, (0.5, 0.99))
    return {"open50": 1e3 * float(median), "open99": 1e3 * float(high)}


def _measure(started: list[_Running], rounds: int) -> dict[str, list[Row]]:
    """All measurements, each of all in turn; every other round in the opposite order."""
    found: dict[str, list[Row]] = {one.peer.name: [] for one in started}
    for one in started:
        one.spend(Job(_PROMPT + "think=2 chunks=8", max(20, int(200 * one.peer.load)), 8))
    for number in range(rounds):
        rows: dict[str, Row] = {name: {} for name in found}
        for measure in (_requests, _paced, _saturated, _idle, _open):
            for one in started if number % 2 == 0 else started[::-1]:
                rows[one.peer.name] |= measure(one)
        for name, row in rows.items():
            found[name].append(row)
            shown = ", ".join(f"{column} {row[column]:.2f}" for column in _COLUMNS if column in row)
            print(f"{name}: {shown}", file=sys.stderr, flush=True)
    return found


def _table(rows: dict[str, list[Row]]) -> str:
    lines = [
        "| | CPU ms a request | CPU us a chunk, 1,600 a second | CPU us a chunk, saturated "
        "| chunks a second | added TTFT p50 / p99 ms | the same at 50 requests a second |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, rounds in rows.items():
        one = {
            column: statistics.median(row.get(column, np.nan) for row in rounds)
            for column in _COLUMNS
        }
        steady = f"{one['open50']:.2f} / {one['open99']:.2f}" if "open50" in rounds[0] else ""
        lines.append(
            f"| {name} | {one['cpu_request']:.2f} | {one['cpu_paced']:.0f} "
            f"| {one['cpu_saturated']:.1f} | {one['rate']:,.0f} "
            f"| {one['ttft50']:.2f} / {one['ttft99']:.2f} | {steady} |"
        )
    return "\n".join(lines)


def _ratios(rows: dict[str, list[Row]]) -> str:
    """How many times the others' CPU the first one's is: median of the rounds, and each of them."""
    (first, ours), *others = rows.items()
    lines = [f"| {first}, times | CPU a request | CPU a paced chunk |", "| --- | --- | --- |"]
    for name, theirs in others:
        told: list[str] = []
        for column in ("cpu_request", "cpu_paced"):
            times = [mine[column] / its[column] for mine, its in zip(ours, theirs, strict=True)]
            each = ", ".join(f"{one:.2f}" for one in times)
            told.append(f"{statistics.median(times):.2f} ({each})")
        lines.append(f"| {name} | {' | '.join(told)} |")
    return "\n".join(lines)


@click.command(help=__doc__)
@click.option("--rounds", type=int, default=3, show_default=True, metavar="N")
@click.option("--vllm-router", metavar="FILE", help="Path of vllm-router, to measure it too.")
@click.option("--litellm", metavar="FILE", help="Path of litellm, to measure it too.")
@click.option("--only", multiple=True, metavar="NAME", help="Only peers with this in their name.")
def main(rounds: int, vllm_router: str | None, litellm: str | None, only: tuple[str, ...]) -> None:
    """Measure everything, and print the table."""
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2:
        raise SystemExit("bench: this needs Linux and two cores, one for what is measured")
    os.sched_setaffinity(0, {1})
    found, versions = peers(vllm_router, litellm)
    if only:
        found = [peer for peer in found if any(word in peer.name for word in only)]
    engine = "http://127.0.0.1:8790"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        start = Starter(stack, Path(folder)).start
        fake = python_command("loadtest.fake_engine", "--port", "8790", "--model", "demo")
        start(fake, engine, "1")
        started: list[_Running] = []
        for port, peer in zip(range(8800, 9000, 2), found, strict=False):
            url = f"http://127.0.0.1:{port}"
            pid = start(peer.command(engine, port, Path(folder)), url, "0")
            started.append(_Running(peer, pid, url, engine))
        rows = _measure(started, rounds)
    print(f"{_table(rows)}\n\n{_ratios(rows)}")
    print(f"\nPython {sys.version.split()[0]}, {', '.join(versions)}")


if __name__ == "__main__":
    main(prog_name="python -m loadtest.bench")
