"""The measurements of the benchmark: CPU and delay of each peer, in rounds."""

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click
import numpy as np
from tqdm import tqdm

from loadtest.bench.generator import Batch, Tally, generate
from loadtest.bench.peers import Peer
from loadtest.bench.servers import Server
from loadtest.process_usage import cpu_seconds

_PROMPT = (
    "Ben has 40 coins. Ben finds 61 coins. Ben loses 17 coins. Ben sells 38 of the coins. Then Ben "
    "wins 77 coins. How many coins does Ben have now? "
)
_REQUESTS_PER_SECOND = 50
ROUNDS = click.IntRange(1, 100)
_SETTLE_SECONDS = 0.5
"""Work after the last answer, such as writing the ledger, counts too."""

_MIN_LOAD_OPEN_LOOP = 0.5
"""A peer with a smaller share of the usual load would only queue in an open loop."""

COLUMNS = (
    *("cpu_request", "cpu_paced", "cpu_saturated", "rate"),
    *("ttft50", "ttft99", "open50", "open99"),
)

Row = dict[str, float]
"""A round of one peer, by column: CPU in ms per request or us per chunk, added TTFT in ms."""


@dataclass(frozen=True)
class RunningPeer:
    """A peer whose server is up, in front of an engine; `scale` is the share of work to do."""

    peer: Peer
    server: Server
    engine: Server
    scale: float = 1.0

    def amount(self, usual: int, least: int) -> int:
        """The amount of work of a measurement: the usual, times the peer's load and the scale."""
        return max(least, int(usual * self.peer.load * self.scale))

    def send(self, batch: Batch) -> tuple[float, Tally]:
        """Seconds of CPU that the peer used for a batch, and the batch's counts.

        Raises:
            SystemExit: a request failed.
        """
        before = cpu_seconds(self.server.pid)
        tally = asyncio.run(generate(self.server.url, batch, "unused"))
        time.sleep(_SETTLE_SECONDS)
        if tally.errors:
            failed = f"{tally.errors} of {tally.requests} requests failed"
            raise SystemExit(f"bench: {failed} at {self.peer.name}")
        return cpu_seconds(self.server.pid) - before, tally


def measure_rounds(peers: Sequence[RunningPeer], rounds: int) -> dict[str, list[Row]]:
    """All measurements of all peers, by the peer's name; every other round in reverse order.

    Each measurement visits all peers before the next one starts, so that a ratio of two peers
    compares values that are close in time.
    """
    results: dict[str, list[Row]] = {running.peer.name: [] for running in peers}
    for running in peers:
        running.send(Batch(_PROMPT + "think=2 chunks=8", running.amount(200, 20), 8))
    with tqdm(total=rounds * len(_MEASUREMENTS) * len(peers), unit="measurement") as progress:
        for number in range(rounds):
            rows: dict[str, Row] = {name: {} for name in results}
            for name, measure in _MEASUREMENTS.items():
                for running in peers if number % 2 == 0 else peers[::-1]:
                    state = f"round {number + 1}/{rounds}: {name}, {running.peer.name}"
                    progress.set_postfix_str(state)
                    rows[running.peer.name] |= measure(running)
                    progress.update()
            for name, row in rows.items():
                results[name].append(row)
                columns = [f"{column} {row[column]:.2f}" for column in COLUMNS if column in row]
                progress.write(f"{name}: {', '.join(columns)}")
    return results


def _requests(running: RunningPeer) -> Row:
    """Milliseconds of CPU per non-streaming request."""
    count = running.amount(4000, 100)
    seconds, tally = running.send(Batch(_PROMPT + "think=5 chunks=10", count, 16, stream=False))
    return {"cpu_request": 1e3 * seconds / tally.requests}


def _paced_streams(running: RunningPeer) -> Row:
    """Microseconds of CPU per chunk of streams at an engine's pace."""
    streams, chunks = running.amount(32, 2), max(50, int(450 * running.scale))
    batch = Batch(_PROMPT + f"think=50 chunks={chunks} rate=50", streams, streams)
    seconds, tally = running.send(batch)
    return {"cpu_paced": 1e6 * seconds / tally.chunks}


def _saturated_streams(running: RunningPeer) -> Row:
    """Microseconds of CPU per chunk, and chunks per second, of streams without a pace."""
    chunks = running.amount(4000, 100)
    seconds, tally = running.send(Batch(_PROMPT + f"think=50 chunks={chunks}", 32, 16))
    return {"cpu_saturated": 1e6 * seconds / tally.chunks, "rate": tally.chunks / tally.seconds}


def _idle_ttft(running: RunningPeer) -> Row:
    """Milliseconds that the peer adds to the TTFT of one request at a time."""
    added: list[float] = []
    for _ in range(4):
        batch = Batch(_PROMPT + "think=1 chunks=1", max(10, int(50 * running.scale)), 1)
        direct = asyncio.run(generate(running.engine.url, batch)).ttft
        proxied = asyncio.run(generate(running.server.url, batch, "unused")).ttft
        added += [ttft - statistics.median(direct) for ttft in proxied]
    median, p99 = np.quantile(added, (0.5, 0.99))
    return {"ttft50": 1e3 * float(median), "ttft99": 1e3 * float(p99)}


def _open_loop_ttft(running: RunningPeer) -> Row:
    """Milliseconds that the peer adds to quantiles of the TTFT in an open loop."""
    if running.peer.load < _MIN_LOAD_OPEN_LOOP:
        return {}
    count = max(_REQUESTS_PER_SECOND, int(10 * _REQUESTS_PER_SECOND * running.scale))
    content = _PROMPT + "think=5 chunks=20 rate=100"
    batch = Batch(content, count, 64, rate=_REQUESTS_PER_SECOND)
    direct = asyncio.run(generate(running.engine.url, batch)).ttft
    proxied = asyncio.run(generate(running.server.url, batch, "unused")).ttft
    median, p99 = np.quantile(proxied, (0.5, 0.99)) - np.quantile(direct, (0.5, 0.99))
    return {"open50": 1e3 * float(median), "open99": 1e3 * float(p99)}


_MEASUREMENTS: dict[str, Callable[[RunningPeer], Row]] = {
    "requests": _requests,
    "paced streams": _paced_streams,
    "saturated streams": _saturated_streams,
    "TTFT when idle": _idle_ttft,
    "TTFT in an open loop": _open_loop_ttft,
}
