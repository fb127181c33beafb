"""Compares the gateway's cost with that of other proxies: `python -m loadtest.bench`.

CPU is the process's CPU time, child processes included, divided by the work: the measure with the
least noise on a shared machine. All peers are up at the same time on core 0 and are loaded in turn;
the fake engine and the load generator share core 1. The gateway runs with every feature on:
estimate, decision, holdout, audit, metrics, ledger.

A round takes three to four minutes, with `--scale 0.2` less than one. Published figures are medians
of three whole rounds (`--rounds 3`).
"""

import os
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click

from loadtest.bench.measurements import ROUNDS, RunningPeer, measure_rounds
from loadtest.bench.peers import Peer, installed_peers
from loadtest.bench.servers import Server, Servers
from loadtest.bench.tables import ratio_table, results_table


@click.command(help=__doc__)
@click.option("--rounds", type=ROUNDS, default=1, show_default=True, metavar="N")
@click.option(
    "--scale",
    type=click.FloatRange(0.01, 1),
    default=1.0,
    show_default=True,
    metavar="SHARE",
    help="Share of each measurement's work.",
)
@click.option("--vllm-router", metavar="FILE", help="Path of vllm-router, to measure it too.")
@click.option("--litellm", metavar="FILE", help="Path of litellm, to measure it too.")
@click.option("--only", multiple=True, metavar="NAME", help="Only peers with this in their name.")
def main(
    rounds: int,
    scale: float,
    vllm_router: str | None,
    litellm: str | None,
    only: tuple[str, ...],
) -> None:
    """Measure all peers and print the tables."""
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2:
        raise click.UsageError("this needs Linux and two cores, one of them for what is measured")
    os.sched_setaffinity(0, {1})
    peers, versions = installed_peers(vllm_router, litellm)
    if only:
        peers = [peer for peer in peers if any(name in peer.name for name in only)]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        servers = Servers(stack, folder)
        engine = servers.start_fake_engine("1")
        running = [
            RunningPeer(peer, _start(peer, engine, servers, folder), engine, scale)
            for peer in peers
        ]
        results = measure_rounds(running, rounds)
    click.echo(f"{results_table(results).markdown()}\n\n{ratio_table(results).markdown()}")
    click.echo(f"\nPython {sys.version.split()[0]}, {', '.join(versions)}")


def _start(peer: Peer, engine: Server, servers: Servers, folder: Path) -> Server:
    command = partial(peer.command, engine.url)
    return servers.start(lambda port: command(port, folder), "0")


if __name__ == "__main__":
    main(prog_name="python -m loadtest.bench")
