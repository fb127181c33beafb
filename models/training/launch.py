"""Trainings in worker processes: one, several of this machine, or as accelerate configures them."""

from pathlib import Path

from child_python import python_command
from models.training.recipe import Launch
from models.training.run import RunError
from models.training.worker_process import worker_process

_MALLOC_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
}
"""Keep glibc from returning memory to the system, which makes training on a CPU a third faster."""


def run_training(launch: Launch, module: str, folder: Path) -> None:
    """Run `python -m MODULE FOLDER` to its end, in the processes that the recipe configures.

    Raises:
        RunError: it ended with another status than 0.
    """
    if launch.accelerate is not None:
        flags = ["--config_file", str(launch.accelerate), "-m", module, str(folder)]
        command = python_command("accelerate.commands.launch", *flags)
    elif launch.processes > 1:
        processes = ["--nproc_per_node", str(launch.processes)]
        flags = ["--standalone", *processes, "-m", module, str(folder)]
        command = python_command("torch.distributed.run", *flags)
    else:
        command = python_command(module, str(folder))
    with worker_process(command, defaults=_MALLOC_SETTINGS) as process:
        status = process.wait()
    if status:
        raise RunError(
            f"training in {folder} ended with status {status}, see its output above; the same "
            "command continues from its last checkpoint"
        )
