"""Workers of TRL, forked from a process that has imported it: eight seconds of CPU, once."""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from child_python import python_command
from models.training.worker_process import worker_process

_MODULE = "models.training.trl_worker"
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([_MODULE, "models.training.grpo_trainer"])


class ForkedWorker:
    """As much of a `subprocess.Popen` as `models.training.launch` uses."""

    def __init__(self, process: BaseProcess, log: Path) -> None:
        self._process, self._log = process, log

    def wait(self) -> int:
        self._process.join()
        sys.stderr.write(self._log.read_text(errors="replace"))
        assert self._process.exitcode is not None
        return self._process.exitcode


@contextmanager
def forked_worker(
    command: Sequence[str], log: Path | None = None, defaults: Mapping[str, str] | None = None
) -> Generator[Any]:
    """In place of `worker_process`: forks a single worker of TRL, and starts any other command."""
    *start, folder = command
    if start != python_command(_MODULE):
        with worker_process(command, log, defaults) as process:
            yield process
        return
    with tempfile.NamedTemporaryFile(suffix=".log") as file:
        process = _CONTEXT.Process(
            target=_train, args=(folder, file.name, dict(os.environ)), daemon=True
        )
        process.start()
        try:
            yield ForkedWorker(process, Path(file.name))
        finally:
            process.kill()
            process.join()


def _train(folder: str, log: str, environment: Mapping[str, str]) -> None:
    with Path(log).open("wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.stdout, sys.stderr = (
        open(descriptor, "w", buffering=1, closefd=False)  # noqa: SIM115 - until the end
        for descriptor in (1, 2)
    )
    os.environ.update(environment)
    from models.training.trl_worker import train

    train(Path(folder))
