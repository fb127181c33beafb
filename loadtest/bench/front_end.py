"""Relates the gateway's cost to that of vLLM's API server: `python -m loadtest.bench.front_end`.

PYTHON is the interpreter of an environment with vLLM (`make test-vllm` creates one). vLLM serves
the demo model. Requests pass through the gateway, through a relay of the same libraries, and
through vllm-router where it is installed next to vLLM. CPU is measured in the same runs: that of
vLLM's API server without its engine process, and that of the proxy in front of it.

A round takes about two minutes. Published figures are medians of five (`--rounds 5`).
"""

import asyncio
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import click
from tqdm import tqdm

from child_python import ROOT
from loadtest.bench.generator import Batch, generate
from loadtest.bench.measurements import ROUNDS
from loadtest.bench.peers import gateway, proxy, vllm_router
from loadtest.bench.servers import Server, Servers
from loadtest.bench.tables import median_and_each
from loadtest.process_usage import cpu_seconds
from loadtest.tables import Table

_START_SECONDS = 300
_CORES = "0,1"
_VLLM_FLAGS = (
    *("--max-model-len", "1024", "--dtype", "float32", "--max-num-seqs", "64", "--enforce-eager"),
    *("--gpu-memory-utilization", "0.3", "--reasoning-parser", "qwen3", "--host", "127.0.0.1"),
    *("--model", str(ROOT / "models" / "demo"), "--served-model-name", "demo"),
)
_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
_STORY = (
    "Ben has 40 coins. Ben finds 61 coins. Ben loses 17 coins. Ben sells 38 of the coins. Then Ben "
    "wins 77 coins. How many coins does Ben have now?"
)
_SHORT = {"reasoning_effort": "none", "max_tokens": 12}
_LONG = {"reasoning_effort": "high"}
_BATCHES = {
    "non-streaming answers of 12 tokens, 16 at a time, ms per request": Batch(
        _STORY, 600, 16, stream=False, fields=_SHORT
    ),
    "16 streams, us per chunk": Batch(_STORY, 96, 16, fields=_LONG),
    "64 streams, us per chunk": Batch(_STORY, 256, 64, fields=_LONG),
}

Sample = tuple[float, float]
"""CPU of a proxy and of vLLM's API server behind it: us per chunk, or ms per request."""


@click.command(help=__doc__)
@click.argument("python")
@click.option("--rounds", type=ROUNDS, default=1, show_default=True, metavar="N")
def main(python: str, rounds: int) -> None:
    """Measure all proxies and print the table."""
    commands = {"gateway": gateway, "raw ASGI + aiohttp": proxy("raw")}
    router_path = Path(python).with_name("vllm-router")
    if router_path.exists():
        commands["vllm-router"] = vllm_router(str(router_path))
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        servers = Servers(stack, folder, _START_SECONDS)
        api_server = [python, "-m", "vllm.entrypoints.openai.api_server", *_VLLM_FLAGS]
        vllm = servers.start(lambda port: [*api_server, "--port", str(port)], _CORES, _ENVIRONMENT)
        proxies = {
            proxy_name: servers.start(lambda port, c=command: c(vllm.url, port, folder), _CORES)
            for proxy_name, command in commands.items()
        }
        samples = _measure_rounds(proxies, vllm, rounds)
    click.echo(_table(samples).markdown())


def _measure_rounds(
    proxies: Mapping[str, Server], vllm: Server, rounds: int
) -> dict[tuple[str, str], list[Sample]]:
    """The rounds' samples by batch and proxy; every other round in reverse order."""
    for server in proxies.values():
        asyncio.run(generate(server.url, Batch(_STORY, 32, 16, fields=_LONG)))
    samples: dict[tuple[str, str], list[Sample]] = {}
    with tqdm(total=rounds * len(_BATCHES) * len(proxies), unit="measurement") as progress:
        for number in range(rounds):
            for batch_name, batch in _BATCHES.items():
                for name, server in list(proxies.items())[:: -1 if number % 2 else 1]:
                    progress.set_postfix_str(f"round {number + 1}/{rounds}: {batch_name}, {name}")
                    sample = _measure(batch, server, vllm)
                    samples.setdefault((batch_name, name), []).append(sample)
                    progress.write(f"{batch_name}, {name}: {sample[0]:.2f} {sample[1]:.2f}")
                    progress.update()
    return samples


def _measure(batch: Batch, server: Server, vllm: Server) -> Sample:
    before = cpu_seconds(server.pid), cpu_seconds(vllm.pid, descendants=False)
    tally = asyncio.run(generate(server.url, batch))
    after = cpu_seconds(server.pid), cpu_seconds(vllm.pid, descendants=False)
    if tally.errors:
        raise SystemExit(f"bench: {tally.errors} of {tally.requests} requests failed")
    scale = 1e6 / tally.chunks if batch.stream else 1e3 / tally.requests
    return scale * (after[0] - before[0]), scale * (after[1] - before[1])


def _table(samples: Mapping[tuple[str, str], Sequence[Sample]]) -> Table:
    rows: list[list[str]] = []
    for (batch_name, name), rounds in samples.items():
        own, vllm = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratios = median_and_each([proxy_cpu / vllm_cpu for proxy_cpu, vllm_cpu in rounds])
        rows.append([batch_name, name, f"{own:.2f}", f"{vllm:.2f}", ratios])
    return Table(("", "through", "CPU", "vLLM's API server", "ratio (each round)"), rows)


if __name__ == "__main__":
    main(prog_name="python -m loadtest.bench.front_end")
