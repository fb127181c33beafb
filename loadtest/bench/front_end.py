"""What the gateway costs beside vLLM's API server: `python -m loadtest.bench.front_end PYTHON`.

PYTHON is that of an environment with vLLM (`make test-vllm` sets one up). vLLM serves the demo
model; requests pass through the gateway, and through proxies that only relay: one of the same
libraries, and vllm-router where it is installed beside vLLM, which is what it costs without Python.
CPU is that of vLLM's API server alone, without its engine's process, and that of what is in
front of it, in the same runs.
"""

import asyncio
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import click

from loadtest.bench.generator import Job, generate
from loadtest.bench.peers import ROOT, gateway, proxy, router
from loadtest.bench.process import Starter, cpu

_ENGINE = "http://127.0.0.1:8790"
_START_SECONDS = 300
_FLAGS = (
    *("--max-model-len", "1024", "--dtype", "float32", "--max-num-seqs", "64", "--enforce-eager"),
    *("--gpu-memory-utilization", "0.3", "--reasoning-parser", "qwen3", "--host", "127.0.0.1"),
    *("--model", str(ROOT / "models" / "demo"), "--served-model-name", "demo", "--port", "8790"),
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
_JOBS = {
    "whole answers of 12 tokens, 16 at a time, ms a request": Job(
        _STORY, 600, 16, stream=False, more=_SHORT
    ),
    "16 streams, us a chunk": Job(_STORY, 96, 16, more=_LONG),
    "64 streams, us a chunk": Job(_STORY, 256, 64, more=_LONG),
}


def _measure(job: Job, url: str, pid: int, server: int) -> tuple[float, float]:
    """CPU of a proxy and of vLLM's API server behind it: us a chunk, or ms a request."""
    before = cpu(pid), cpu(server, family=False)
    tally = asyncio.run(generate(url, job))
    spent = cpu(pid) - before[0], cpu(server, family=False) - before[1]
    if tally.errors:
        raise SystemExit(f"bench: {tally.errors} of {tally.requests} requests failed")
    scale = 1e6 / tally.chunks if job.stream else 1e3 / tally.requests
    return scale * spent[0], scale * spent[1]


@click.command(help=__doc__)
@click.argument("python")
@click.option("--rounds", type=int, default=3, show_default=True, metavar="N")
def main(python: str, rounds: int) -> None:
    """Measure, and print a table."""
    proxies = {"gateway": gateway, "raw ASGI + aiohttp": proxy("raw")}
    beside = Path(python).with_name("vllm-router")
    if beside.exists():
        proxies["vllm-router"] = router(str(beside))
    urls = {
        name: f"http://127.0.0.1:{port}"
        for name, port in zip(proxies, range(8800, 9000, 2), strict=False)
    }
    vllm = [python, "-m", "vllm.entrypoints.openai.api_server", *_FLAGS]
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        scratch = Path(folder)
        start = Starter(stack, scratch, _START_SECONDS).start
        server = start(vllm, _ENGINE, "0,1", _ENVIRONMENT)
        pids = {
            name: start(proxies[name](_ENGINE, urlsplit(url).port or 0, scratch), url, "0,1")
            for name, url in urls.items()
        }
        for url in urls.values():
            asyncio.run(generate(url, Job(_STORY, 32, 16, more=_LONG)))
        for number in range(rounds):
            for what, job in _JOBS.items():
                for name, url in list(urls.items())[:: -1 if number % 2 else 1]:
                    one = _measure(job, url, pids[name], server)
                    found.setdefault((what, name), []).append(one)
                    print(f"{what}, {name}: {one[0]:.2f} {one[1]:.2f}", file=sys.stderr, flush=True)
    print("| | through | CPU | vLLM's API server | ratio |\n| --- | --- | --- | --- | --- |")
    for (what, name), samples in found.items():
        ours, theirs = (statistics.median(column) for column in zip(*samples, strict=True))
        shares = [one / other for one, other in samples]
        each = ", ".join(f"{share:.2f}" for share in shares)
        share = f"{statistics.median(shares):.2f} ({each})"
        print(f"| {what} | {name} | {ours:.2f} | {theirs:.2f} | {share} |")


if __name__ == "__main__":
    main(prog_name="python -m loadtest.bench.front_end")
