"""Engines as real processes on loopback: the embedded one, llama.cpp, vLLM where there is one."""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx
import pytest
from forked_command import ForkedCommand
from paths import ROOT
from polling import PATIENCE_SECONDS

from server.engines.supervisor import free_port

VLLM = os.environ.get("TEST_VLLM_PYTHON")
DEMO = ROOT / "models" / "demo"
VLLM_FLAGS = (
    *("--max-model-len", "1024", "--dtype", "float32", "--max-num-seqs", "64", "--enforce-eager"),
    *("--gpu-memory-utilization", "0.3", "--enable-auto-tool-choice"),
    *("--tool-call-parser", "hermes"),
    *("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}'),
)
VLLM_SECONDS = 900
"""Far more than vLLM takes to start beside other work."""

VLLM_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
BOTH = ("embedded", pytest.param("vllm", marks=pytest.mark.vllm))
ALL = ("embedded", pytest.param("llama.cpp", marks=pytest.mark.slow), BOTH[1])
_METRICS = {
    "llama.cpp": {
        "running": "llamacpp:requests_processing",
        "generated": "llamacpp:tokens_predicted_total",
    }
}
_VLLM_METRICS = {
    "running": "vllm:num_requests_running",
    "generated": "vllm:generation_tokens_total",
}


@dataclass
class Running:
    """An engine's process; `url` is without /v1."""

    name: str
    url: str
    process: ForkedCommand | subprocess.Popen[bytes]

    @property
    def flags(self) -> tuple[str, ...]:
        """Those of `tops serve` in front of it."""
        return ("--dialect", "llama.cpp") if self.name == "llama.cpp" else ()

    def metric(self, measure: str) -> float:
        """The requests that are `running`, or the tokens that were `generated`."""
        name = _METRICS.get(self.name, _VLLM_METRICS)[measure]
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def running(name: str, *flags: str, port: int | None = None) -> Generator[Running]:
    """An engine that serves the demo checkpoint as `demo`, until the block is left."""
    if name == "vllm" and VLLM is None:
        pytest.skip("no vLLM here: make test-vllm sets one up")
    if name == "llama.cpp":
        pytest.importorskip("xllamacpp", reason="llama.cpp is not installed (extra llamacpp)")
    port = port or free_port()
    start = forked if name == "embedded" else started
    with start(_command(name, port, flags), VLLM_ENVIRONMENT) as process:
        engine = Running(name, f"http://127.0.0.1:{port}", process)
        await_health(engine.url, process, VLLM_SECONDS if name == "vllm" else PATIENCE_SECONDS)
        yield engine


@contextmanager
def forked(words: list[str], environment: dict[str, str]) -> Generator[ForkedCommand]:
    """A command of `forked_command` until the block is left; then SIGTERM, and it must end."""
    process = ForkedCommand(words, ROOT, {**os.environ, **environment}, silent=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def started(
    words: Sequence[str], environment: dict[str, str] | None = None, log: Path | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """A process until the block is left; then SIGTERM, and it must end, with all its own."""
    out = log.open("wb") if log else subprocess.DEVNULL
    environment = {**os.environ, **(environment or {})}
    process = subprocess.Popen(
        words, cwd=ROOT, stdout=out, stderr=out, env=environment, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)
        with suppress(ProcessLookupError):  # what one that was killed left behind
            os.killpg(process.pid, signal.SIGKILL)
        if not isinstance(out, int):
            out.close()


@contextmanager
def scripted() -> Generator[str]:
    """The base URL of a scripted engine (`loadtest.fake_engine`)."""
    port = free_port()
    with started([sys.executable, "-m", "loadtest.fake_engine", "--port", str(port)]) as process:
        await_health(f"http://127.0.0.1:{port}", process, PATIENCE_SECONDS)
        yield f"http://127.0.0.1:{port}"


@cache
def demo_gguf() -> Path:
    """The demo checkpoint as a GGUF file, converted once per process."""
    from models.training.gguf_file import write_gguf

    file = Path(tempfile.mkdtemp(prefix="tops-gguf-")) / "demo.gguf"
    atexit.register(shutil.rmtree, file.parent, ignore_errors=True)
    write_gguf(DEMO, file)
    return file


def await_health(
    url: str, process: ForkedCommand | subprocess.Popen[bytes], seconds: float
) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, f"{url} did not start"
        assert time.monotonic() < deadline, f"{url} did not start in time"
        time.sleep(0.2)


def _command(name: str, port: int, flags: Sequence[str]) -> list[str]:
    if name == "embedded":
        own = ["server.embedded", "--model", str(DEMO), "--served-model-name", "demo"]
        return [*own, "--port", str(port), *flags]
    if name == "llama.cpp":
        options = ["--served-model-name", "demo", "--slots", "16"]
        own = ["-m", "server.llamacpp", "--model", str(demo_gguf()), *options]
        return [sys.executable, *own, "--port", str(port), *flags]
    assert VLLM is not None
    own = ["-m", "vllm.entrypoints.openai.api_server", "--model", str(DEMO), "--port", str(port)]
    names = ["--served-model-name", "demo", "--host", "127.0.0.1", "--reasoning-parser", "qwen3"]
    return [VLLM, *own, *names, *VLLM_FLAGS, *flags]
