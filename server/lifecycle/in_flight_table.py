"""The load of all workers of one gateway, in a file that they map.

First the mean wait of the newest streams, which all of them update; then a slot for each worker:
its process id, its requests in flight, and those of each API key. The slot of a worker that died is
taken, and cleared, by the one that replaces it.
"""

import fcntl
import mmap
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from server.observe.live_process import is_alive

_CELL = 8
_WAIT_CELLS = 2
_SLOT_CELLS = 2
_SPARE = 2
"""Slots for each worker: one that hangs may still live when its successor starts."""


def create_in_flight_table(folder: Path, workers: int, keys: int) -> Path:
    """The file, for so many workers and API keys, in a folder that the workers share."""
    file = folder / "in-flight.table"
    file.write_bytes(bytes(_CELL * (_WAIT_CELLS + _SPARE * workers * (_SLOT_CELLS + keys))))
    return file


class InFlightTable:
    """The table of one worker, which has a slot of its own.

    Attributes:
        wait: two numbers for `server.lifecycle.tracker`.

    Args:
        file: see `create_in_flight_table`.
        keys: the number of API keys.
        alive: whether a process of this id runs.
    """

    def __init__(self, file: Path, keys: int, alive: Callable[[int], bool] = is_alive) -> None:
        self.descriptor = os.open(file, os.O_RDWR)
        memory = memoryview(mmap.mmap(self.descriptor, 0))
        waiting = _CELL * _WAIT_CELLS
        self.wait, self.cells = memory[:waiting].cast("d"), memory[waiting:].cast("q")
        self.width = _SLOT_CELLS + keys
        with locked(self.descriptor):
            slots = range(0, len(self.cells), self.width)
            free = [at for at in slots if not (self.cells[at] and alive(self.cells[at]))]
            self.slot = free[0] if free else slots[0]
            for at in range(self.width):
                self.cells[self.slot + at] = os.getpid() if at == 0 else 0

    def set(self, in_flight: int) -> None:
        """Tell the other workers."""
        self.cells[self.slot + 1] = in_flight

    def total(self) -> int:
        """Requests in flight on all workers."""
        return sum(self.cells[1 :: self.width])

    def of_key(self, number: int) -> "KeyCount":
        """The requests in flight of the API key of this number, 0 for the first."""
        return KeyCount(self, _SLOT_CELLS + number)


class KeyCount:
    """Requests in flight of one API key on all workers; see `server.api_keys.InFlightCount`."""

    def __init__(self, table: InFlightTable, column: int) -> None:
        self._table, self._column = table, column

    def take(self, most: int) -> bool:
        table = self._table
        with locked(table.descriptor):  # no other worker may count between the sum and this one
            if sum(table.cells[self._column :: table.width]) >= most:
                return False
            table.cells[table.slot + self._column] += 1
            return True

    def release(self) -> None:
        self._table.cells[self._table.slot + self._column] -= 1


@contextmanager
def locked(descriptor: int) -> Generator[None]:
    """Hold a file's lock, which the system releases if this process dies."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
