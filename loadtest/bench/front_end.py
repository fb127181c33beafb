"""What the gateway costs beside vLLM's API server: `python -m loadtest.bench.front_end PYTHON`.

PYTHON is that of an environment with vLLM (`make vllm`). vLLM serves the demo model; requests pass
through the gateway. CPU is that of vLLM's API server alone, without its engine's process, and that
of the gateway, in the same runs.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from loadtest.bench.generator import Job, generate
from loadtest.bench.peers import ROOT, gateway
from loadtest.bench.process import await_up, cpu, running

_ENGINE, _GATEWAY = "http://127.0.0.1:8790", "http://127.0.0.1:8800"
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


def _compare(what: str, job: Job, gateway_pid: int, server_pid: int) -> str:
    """A row of the table: CPU of both, a chunk or a request, and their ratio."""
    before = cpu(gateway_pid), cpu(server_pid, family=False)
    tally = asyncio.run(generate(_GATEWAY, job))
    ours, theirs = cpu(gateway_pid) - before[0], cpu(server_pid, family=False) - before[1]
    if tally.errors:
        raise SystemExit(f"bench: {tally.errors} of {tally.requests} requests failed")
    work = tally.chunks if job.stream else tally.requests
    unit, scale = ("us a chunk", 1e6) if job.stream else ("ms a request", 1e3)
    ours, theirs = scale * ours / work, scale * theirs / work
    return f"| {what} | {ours:.2f} {unit} | {theirs:.2f} {unit} | {ours / theirs:.2f} |"


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.front_end", description=__doc__)
    parser.add_argument("python", help="the Python that has vLLM")
    words = parser.parse_args()
    vllm = [words.python, "-m", "vllm.entrypoints.openai.api_server", *_FLAGS]
    jobs = [
        ("whole answers of 12 tokens, 16 at a time", Job(_STORY, 600, 16, False, more=_SHORT)),
        ("16 streams", Job(_STORY, 96, 16, more=_LONG)),
        ("64 streams", Job(_STORY, 256, 64, more=_LONG)),
    ]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        log = scratch / "vllm.log"
        with running(vllm, "0,1", log, _ENVIRONMENT) as server:
            await_up(_ENGINE, server, log, _START_SECONDS)
            log = scratch / "gateway.log"
            with running(gateway(_ENGINE, 8800, scratch), "0,1", log) as process:
                await_up(_GATEWAY, process, log)
                asyncio.run(generate(_GATEWAY, Job(_STORY, 32, 16, more=_LONG)))
                print("| | gateway | vLLM's API server | ratio |\n| --- | --- | --- | --- |")
                for what, job in jobs:
                    print(_compare(what, job, process.pid, server.pid), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
