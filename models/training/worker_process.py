"""Child processes of a run: they end with the block that started them, and with this process."""

import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_PATIENCE_SECONDS = 20


@contextmanager
def child(
    words: Sequence[str], log: Path | None = None, more: Mapping[str, str] | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """A command on a leash; its output goes to `log`, or where ours goes.

    Its environment is ours, and where that lacks them the variables of `more`.
    """
    leash = [sys.executable, "-m", "server.engines.die_with_parent", *words]
    out = None if log is None else log.open("wb")
    environment = {**(more or {}), **os.environ}
    process = subprocess.Popen(  # noqa: S603 - the words are ours
        leash, stdin=subprocess.PIPE, stdout=out, stderr=out, env=environment
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if out is not None:
            out.close()
