"""Requests in flight of all workers of one gateway, in a file that they map.

Each worker has a slot: its process id, and its requests in flight. The slot of a worker that died
is taken, and cleared, by the one that replaces it.
"""

import fcntl
import mmap
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from server.observe.live_process import is_alive

_SLOT = 16
_SPARE = 2
"""Slots for each worker: one that hangs may still live when its successor starts."""


def create_in_flight_table(folder: Path, workers: int) -> Path:
    """The file, in a folder that the workers share."""
    file = folder / "in-flight.table"
    file.write_bytes(bytes(_SPARE * workers * _SLOT))
    return file


class InFlightTable:
    """The table of one worker, which has a slot of its own.

    Args:
        file: see `create_in_flight_table`.
        alive: whether a process of this id runs.
    """

    def __init__(self, file: Path, alive: Callable[[int], bool] = is_alive) -> None:
        descriptor = os.open(file, os.O_RDWR)
        try:
            self._cells = memoryview(mmap.mmap(descriptor, 0)).cast("q")
            with _locked(descriptor):
                slots = range(0, len(self._cells), 2)
                free = [at for at in slots if not (self._cells[at] and alive(self._cells[at]))]
                at = free[0] if free else slots[0]
                self._cells[at], self._cells[at + 1] = os.getpid(), 0
        finally:
            os.close(descriptor)
        self._at = at + 1

    def set(self, in_flight: int) -> None:
        """Tell the other workers."""
        self._cells[self._at] = in_flight

    def total(self) -> int:
        """Requests in flight on all workers."""
        return sum(self._cells[1::2])


@contextmanager
def _locked(descriptor: int) -> Generator[None]:
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
