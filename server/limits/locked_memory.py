"""Memory of this process, or of a file that all workers of one gateway map and lock.

The lock is held for the microseconds that a charge takes.
"""

import fcntl
import mmap
import os
from pathlib import Path


class LockedMemory:
    """A buffer; `with` it, the other workers wait. The system releases a dead worker's lock.

    Attributes:
        buffer: zeros at first.

    Args:
        size: in bytes.
        file: of this size, which the workers share; None for this process alone.
    """

    __slots__ = ("_descriptor", "buffer")

    def __init__(self, size: int, file: Path | None) -> None:
        self._descriptor = None if file is None else os.open(file, os.O_RDWR)
        self.buffer = (
            bytearray(size) if self._descriptor is None else mmap.mmap(self._descriptor, size)
        )

    def __enter__(self) -> None:
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Release the file of the workers; the buffer stays mapped."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
