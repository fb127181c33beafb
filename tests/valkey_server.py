"""A real Valkey or Redis on a free loopback port, for the tests that need one."""

import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from polling import PATIENCE_SECONDS

PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server")


@contextmanager
def valkey(folder: Path, port: int | None = None) -> Generator[int]:
    """Its port, until the block is left; the same one again if it is given."""
    if PROGRAM is None:
        pytest.skip("neither valkey-server nor redis-server is installed")
    if port is None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    command = [
        PROGRAM,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _answers(port):
            assert process.poll() is None, "the server ended: is its port taken?"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
