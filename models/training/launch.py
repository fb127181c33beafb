"""Trainings in processes of their own: one, several of this machine, or as accelerate is told."""

from pathlib import Path

from child_python import python_command
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
        flags = ["--config_file", str(launch.accelerate)]
        command = python_command("accelerate.commands.launch", *flags, *words)
    elif launch.processes > 1:
        flags = ["--standalone", "--nproc_per_node", str(launch.processes)]
        command = python_command("torch.distributed.run", *flags, *words)
    else:
        command = python_command(module, str(folder))
    with worker_process(command, defaults=_MALLOC_SETTINGS) as process:
        status = process.wait()
    if status:
        raise RunError(
            f"training in {folder} ended with status {status}: see above; run the same command "
            "again to go on from its last checkpoint"
        )
