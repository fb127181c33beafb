"""Python child processes that run this project's modules, wherever they are started.

`python -m` and `python -c` search the working folder before anything else. There, a `server.py` or
`models.py` of the user would be imported in place of a package of this project. Every child is
therefore started with a command of `python_command` and the variables of `path_variables`.

Imports the standard library only, so that every package may import it.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

ROOT = Path(__file__).resolve().parent
"""The folder that holds this project's packages: a checkout, or site-packages."""

_LONGEST_TEMPORARY_FOLDER = 107 - len("/pymp-12345678/listener-12345678")
"""Bytes of its path, with which that of the forking process's socket is as long as Linux allows."""


def python_command(module: str, *arguments: str) -> list[str]:
    """The command `python -m MODULE ARGUMENTS`, without the working folder on `sys.path`."""
    return [sys.executable, "-P", "-m", module, *arguments]


def path_variables() -> dict[str, str]:
    """Environment variables for a child that runs modules of this project.

    PYTHONSAFEPATH does for the child's own children what `-P` does for the child. PYTHONPATH names
    the checkout, so that a child runs the code of its parent even where another version, or none,
    is installed; an installed project needs no entry. Entries that mean the working folder are
    left out.
    """
    entries = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    path = [entry for entry in entries if not _is_working_folder(entry)]
    if (ROOT / "pyproject.toml").is_file():
        path = [str(ROOT), *(entry for entry in path if Path(entry).resolve() != ROOT)]
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path)}


def process_context(*modules: str) -> "BaseContext":
    """A context of `multiprocessing` whose processes are forks of one that has imported `modules`.

    They share its memory and start at once. Elsewhere than on Linux, each imports what it needs,
    since the system's libraries may not survive a fork; so it does where the path of the folder for
    temporary files leaves no room for the name of a socket.
    """
    from multiprocessing import get_context  # noqa: PLC0415 - few commands start such processes
    from tempfile import gettempdir  # noqa: PLC0415

    has_room = len(os.fsencode(gettempdir())) <= _LONGEST_TEMPORARY_FOLDER
    context = get_context("forkserver" if sys.platform == "linux" and has_room else "spawn")
    context.set_forkserver_preload(list(modules))
    return context


def avoid_working_folder() -> None:
    """Stop searching the working folder in this process and in those that it will spawn.

    `python -m tops`, or an empty entry of PYTHONPATH, has put the working folder on `sys.path`; a
    checkout that is the working folder stays there. `multiprocessing` starts its children with
    `python -c` and this process's environment.
    """
    sys.path[:] = [entry for entry in sys.path if not _is_working_folder(entry)]
    os.environ.update(path_variables())


def _is_working_folder(entry: str) -> bool:
    folder = Path(entry).resolve()
    return folder == Path.cwd() and folder != ROOT
