"""Trainings, forked from a process that has imported torch and TRL: eight seconds of CPU, once."""

import gc
import importlib
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
from server.engines.supervisor import free_port

_MODULES = ("models.training.trl_worker", "models.training.base", "models.training.retell")
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([*_MODULES, "models.training.grpo_trainer"])


class ForkedWorker:
    """As much of a `subprocess.Popen` as `models.training.launch` uses, of all ranks."""

    def __init__(self, ranks: Sequence[BaseProcess], log: Path) -> None:
        self._ranks, self._log = ranks, log

    def wait(self) -> int:
        for rank in self._ranks:
            rank.join()
        sys.stderr.write(self._log.read_text(errors="replace"))
        return next((rank.exitcode for rank in self._ranks if rank.exitcode), 0)


@contextmanager
def forked_worker(
    command: Sequence[str], log: Path | None = None, defaults: Mapping[str, str] | None = None
) -> Generator[Any]:
    """In place of `worker_process`: forks the processes of a training, starts any other command."""
    *start, module, folder = command
    number = _processes(start, module)
    if number is None:
        with worker_process(command, log, defaults) as process:
            yield process
        return
    with tempfile.NamedTemporaryFile(suffix=".log") as file:
        environments = _environments(number)
        ranks = [
            _CONTEXT.Process(
                target=_train, args=(module, folder, file.name, environment), daemon=True
            )
            for environment in environments
        ]
        for rank in ranks:
            rank.start()
        try:
            yield ForkedWorker(ranks, Path(file.name))
        finally:
            for rank in ranks:
                rank.kill()
                rank.join()


def _processes(start: Sequence[str], module: str) -> int | None:
    """How many processes of a training the command starts; None: it is another command."""
    if module not in _MODULES:
        return None
    if [*start, module] == python_command(module):
        return 1
    *launcher, number, _ = start
    options = ("--standalone", "--nproc_per_node")
    return int(number) if launcher == python_command("torch.distributed.run", *options) else None


def _environments(number: int) -> list[dict[str, str]]:
    """Variables of each process, as torch's launcher sets them where there are several."""
    if number == 1:
        return [dict(os.environ)]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    shared |= {"WORLD_SIZE": str(number), "LOCAL_WORLD_SIZE": str(number)}
    ranks = map(str, range(number))
    return [{**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank} for rank in ranks]


def _train(module: str, folder: str, log: str, environment: Mapping[str, str]) -> None:
    with Path(log).open("ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.stdout, sys.stderr = (
        open(descriptor, "w", buffering=1, closefd=False)  # noqa: SIM115 - until the end
        for descriptor in (1, 2)
    )
    os.environ.update(environment)
    gc.freeze()  # a collection would copy what torch and TRL have loaded
    if "RANK" in environment:
        import torch

        torch.set_num_threads(1)
    importlib.import_module(module).train(Path(folder))
