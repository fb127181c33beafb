"""Trainings in processes of their own: one, several of this machine, or as accelerate is told."""

import sys
from pathlib import Path

from models.training.recipe import Launch
from models.training.run import RunError
from models.training.worker_process import worker_process

_MALLOC_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
}
"""glibc gives no memory back in between, which on a CPU makes training a third quicker."""


def launched(launch: Launch, module: str, folder: Path) -> None:
    """Run `python -m MODULE FOLDER` to its end, in the processes that the recipe asks for.

    Raises:
        RunError: it failed.
    """
    words = ["-m", module, str(folder)]
    if launch.accelerate is not None:
        start = ["-m", "accelerate.commands.launch", "--config_file", str(launch.accelerate)]
        words = [*start, *words]
    elif launch.processes > 1:
        start = ["-m", "torch.distributed.run", "--standalone"]
        words = [*start, "--nproc_per_node", str(launch.processes), *words]
    with worker_process([sys.executable, *words], defaults=_MALLOC_SETTINGS) as process:
        status = process.wait()
    if status:
        raise RunError(
            f"training in {folder} ended with status {status}: see above; run the same command "
            "again to go on from its last checkpoint"
        )
