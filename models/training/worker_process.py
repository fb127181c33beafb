"""A worker process: it ends with the block that started it, and with this process.

`models.training.launch` runs trainings in one, `models.training.serving` an engine.
"""

import os
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from child_python import path_variables, python_command

_SHUTDOWN_SECONDS = 20


@contextmanager
def worker_process(
    command: Sequence[str],
    log: Path | None = None,
    defaults: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Generator[subprocess.Popen[bytes]]:
    """Run a command until the block is left.

    Args:
        command: the program and its arguments.
        log: the file for its output; without one, it inherits ours.
        defaults: environment variables for it, where ours does not set them.
        variables: those that it gets in any case.
    """
    wrapper = python_command("server.engines.die_with_parent", *command)
    output = None if log is None else log.open("wb")
    environment = {**(defaults or {}), **os.environ, **path_variables(), **(variables or {})}
    process = subprocess.Popen(  # noqa: S603 - the command is built by our callers
        wrapper, stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()  # the wrapper stops its command at the end of standard input
        try:
            process.wait(_SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if output is not None:
            output.close()
