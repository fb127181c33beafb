"""What the gateway costs, beside its peers, in one run: `python -m loadtest.bench`.

CPU is the process's own clock (and its children's) divided by the work done: the least noisy figure
on a shared machine. The one measured has core 0 to itself; the fake engine and the generator share
core 1. Everything of the gateway is on: estimate, decision, holdout, audit, metrics, ledger.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from loadtest.bench.generator import Job, Tally, generate
from loadtest.bench.peers import Peer, peers
from loadtest.bench.process import await_up, cpu, running

_PROMPT = (
    "Ben has 40 coins. Ben finds 61 coins. Ben loses 17 coins. Ben sells 38 of the coins. Then Ben "
    "wins 77 coins. How many coins does Ben have now? "
)
_OPEN_RATE = 50
_COLUMNS = (
    *("cpu_request", "cpu_paced", "cpu_saturated", "rate"),
    *("ttft50", "ttft99", "open50", "open99"),
)

Row = dict[str, float]


def _measure(pid: int, url: str, job: Job) -> tuple[float, Tally]:
    before = cpu(pid)
    tally = asyncio.run(generate(url, job, "unused"))
    if tally.errors:
        raise SystemExit(f"bench: {tally.errors} of {tally.requests} requests failed at {url}")
    return cpu(pid) - before, tally


def _round(peer: Peer, pid: int, url: str, engine: str) -> Row:
    """One round of all measurements; milliseconds a request, microseconds a chunk."""
    load = peer.load
    _measure(pid, url, Job(_PROMPT + "think=2 chunks=8", max(20, int(200 * load)), 8))
    whole = Job(_PROMPT + "think=5 chunks=10", max(100, int(4000 * load)), 16, stream=False)
    spent, tally = _measure(pid, url, whole)
    row = {"cpu_request": 1e3 * spent / tally.requests}
    streams = max(2, int(32 * load))
    spent, tally = _measure(
        pid, url, Job(_PROMPT + "think=50 chunks=450 rate=50", streams, streams)
    )
    row["cpu_paced"] = 1e6 * spent / tally.chunks
    long = max(100, int(4000 * load))
    spent, tally = _measure(pid, url, Job(_PROMPT + f"think=50 chunks={long}", 32, 16))
    row |= {"cpu_saturated": 1e6 * spent / tally.chunks, "rate": tally.chunks / tally.seconds}
    added: list[float] = []
    for _ in range(4):
        short = Job(_PROMPT + "think=1 chunks=1", 50, 1)
        direct = asyncio.run(generate(engine, short)).ttft
        ours = asyncio.run(generate(url, short, "unused")).ttft
        added += [mine - statistics.median(direct) for mine in ours]
    row |= {
        "ttft50": 1e3 * float(np.median(added)),
        "ttft99": 1e3 * float(np.quantile(added, 0.99)),
    }
    steady = Job(_PROMPT + "think=5 chunks=20 rate=100", 10 * _OPEN_RATE, 64, rate=_OPEN_RATE)
    if load >= 0.5:  # what cannot keep up would only queue
        direct = asyncio.run(generate(engine, steady)).ttft
        ours = asyncio.run(generate(url, steady, "unused")).ttft
        for name, share in (("open50", 0.5), ("open99", 0.99)):
            row[name] = 1e3 * float(np.quantile(ours, share) - np.quantile(direct, share))
    return row


def _one(peer: Peer, engine: str, port: int, scratch: Path) -> Row:
    """Start one, measure it, stop it."""
    url, log = f"http://127.0.0.1:{port}", scratch / "peer.log"
    with running(peer.command(engine, port, scratch), "0", log) as process:
        await_up(url, process, log)
        return _round(peer, process.pid, url, engine)


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
        lines.append(
            f"| {name} | {one['cpu_request']:.2f} | {one['cpu_paced']:.0f} "
            f"| {one['cpu_saturated']:.1f} | {one['rate']:,.0f} "
            f"| {one['ttft50']:.2f} / {one['ttft99']:.2f} "
            f"| {one['open50']:.2f} / {one['open99']:.2f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure everything, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--vllm-router", help="path of vllm-router; left out where not given")
    parser.add_argument("--litellm", help="path of litellm; left out where not given")
    parser.add_argument("--only", nargs="+", help="measure those only whose name has one in it")
    words = parser.parse_args()
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2:
        raise SystemExit("bench: this needs Linux and two cores, one for what is measured")
    os.sched_setaffinity(0, {1})
    found, versions = peers(words.vllm_router, words.litellm)
    if words.only:
        found = [peer for peer in found if any(word in peer.name for word in words.only)]
    rows: dict[str, list[Row]] = {peer.name: [] for peer in found}
    engine = "http://127.0.0.1:8790"
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        fake = [sys.executable, "-m", "loadtest.fake_engine", "--port", "8790", "--model", "demo"]
        with running(fake, "1", scratch / "engine.log") as process:
            await_up(engine, process, scratch / "engine.log")
            for place in range(words.rounds * len(found)):
                peer = found[place % len(found)]
                row = _one(peer, engine, 8800 + 2 * place, scratch)
                rows[peer.name].append(row)
                shown = ", ".join(f"{name} {row[name]:.2f}" for name in _COLUMNS if name in row)
                print(f"{peer.name}: {shown}", file=sys.stderr, flush=True)
    print(_table(rows))
    print(f"\nPython {sys.version.split()[0]}, {', '.join(versions)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
