"""`tops serve` as a process: engines that never come up, missing upstreams, Ctrl-C."""

import os
import signal
import socket
import sqlite3
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from engines import await_health, started
from polling import until
from processes import Server, run_tops, serving, start_tops, workers_of

from server.engines.supervisor import free_port

SECONDS = 60


def script(folder: Path, *lines: str) -> Path:
    """A shell script that stands for the Python that has vLLM."""
    file = folder / "python"
    file.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    file.chmod(0o755)
    return file


def failed_start(*flags: str) -> str:
    """What `tops serve` writes to standard error before it ends with status 1."""
    process = run_tops("serve", "--port", "0", "--ledger", "", *flags)
    assert process.returncode == 1, process.stderr
    assert "Traceback" not in process.stderr
    assert "ready:" not in process.stdout
    return process.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_engine_that_never_comes_up_ends_the_gateway(tmp_path: Path, workers: str) -> None:
    engine = script(tmp_path, "echo loading", "echo CUDA out of memory >&2", "exit 3")
    errors = failed_start("--engine", "vllm", "--engine-python", str(engine), "--workers", workers)
    message = errors[errors.index("exited with status 3 before it was ready") :]
    assert message.splitlines()[1:3] == ["  loading", "  CUDA out of memory"]
    assert errors.count('"engine started"') == 1


def test_an_interpreter_without_vllm_is_named_before_the_start() -> None:
    done = run_tops("serve", "--port", "0", "--ledger", "", "--engine", "vllm", "--model", "x")
    assert done.returncode == 2
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(f"Error: vllm is not installed for {sys.executable}: pass as --eng")


def test_a_broken_checkpoint_is_named_by_the_embedded_engine(tmp_path: Path) -> None:
    (tmp_path / "ctranslate2").mkdir()
    errors = failed_start("--checkpoint", str(tmp_path))
    message = errors[errors.index("before it was ready:") :]
    assert str(tmp_path / "config.json") in message


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_the_gateway_without_a_traceback(workers: int) -> None:
    with serving("--workers", str(workers)) as server:
        group = [server.process.pid]
        if workers > 1:
            group += workers_of(server.process.pid)
            assert len(group) == 1 + workers
        interrupt(group)
        assert server.process.wait(SECONDS) == 0
    assert not server.logged("Traceback", seconds=0.2)
    assert not server.logged("KeyboardInterrupt", seconds=0)


@pytest.mark.parametrize("reaches", ["the only process", "all processes", "the parent alone"])
def test_a_second_ctrl_c_ends_open_streams_without_a_traceback(
    tmp_path: Path, reaches: str
) -> None:
    workers = "1" if reaches == "the only process" else "2"
    port = free_port()
    command = [sys.executable, "-m", "loadtest.fake_engine", "--port", str(port)]
    upstream, file = f"http://127.0.0.1:{port}", tmp_path / "ledger.db"
    flags = ("--upstream", upstream, "--ledger", f"sqlite:///{file}", "--workers", workers)
    flags += ("--shutdown-timeout", "300")  # longer than the test waits
    body = {"messages": [{"role": "user", "content": "endless rate=20"}], "stream": True}
    with started(command) as engine:
        await_health(upstream, engine, SECONDS)
        with (
            serving(*flags) as server,
            httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body) as answer,
        ):
            lines = answer.iter_lines()
            next(lines)
            group = [server.process.pid]
            if reaches == "all processes":
                group += workers_of(server.process.pid)
            interrupt(group)
            until(lambda: not accepts(server.url))
            interrupt(group)
            assert server.process.wait(SECONDS) == 0
            assert any('"code":"stopping"' in line for line in lines)
    assert not server.logged("Traceback", seconds=0.2)
    with closing(sqlite3.connect(file)) as ledger:
        assert ledger.execute("SELECT count(*) FROM requests").fetchone() == (1,)


def interrupt(processes: list[int]) -> None:
    """Ctrl-C of a terminal, which signals each process of the foreground."""
    for pid in processes:
        with suppress(ProcessLookupError):  # a worker without streams is gone by the second time
            os.kill(pid, signal.SIGINT)


def accepts(url: str) -> bool:
    """Whether a server accepts connections."""
    address = httpx.URL(url)
    try:
        socket.create_connection((address.host, address.port or 80)).close()
    except ConnectionError:  # refused, or reset within the backlog
        return False
    return True


def test_ctrl_c_while_workers_start_is_quiet() -> None:
    with waiting_for(f"http://127.0.0.1:{free_port()}", "--workers", "2") as server:
        until(lambda: len(workers_of(server.process.pid)) == 2)
        interrupt([server.process.pid, *workers_of(server.process.pid)])
        assert server.process.wait(SECONDS) in {0, 130}
    assert not server.logged("Traceback", seconds=0.2)


def test_sigterm_ends_the_gateway_with_status_0() -> None:
    with serving() as server:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SECONDS) == 0


@contextmanager
def waiting_for(upstream: str, *flags: str) -> Generator[Server]:
    """A gateway whose upstream does not run yet."""
    words = ["serve", "--port", "0", "--ledger", "", "--upstream", upstream, *flags]
    process = start_tops(*words)
    try:
        yield Server(process)
    finally:
        process.terminate()
        process.wait(SECONDS)


def test_a_missing_upstream_is_reported_and_waited_for() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with waiting_for(url) as server:
        assert server.logged(f"no engine answers at {url}", seconds=SECONDS)
        assert not server.url
        command = [sys.executable, "-m", "loadtest.fake_engine", "--port", str(port)]
        with started(command) as engine:
            await_health(url, engine, SECONDS)
            server.wait_ready(SECONDS)
            assert httpx.get(f"{server.url}/ready").status_code == 200
