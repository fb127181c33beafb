"""The use of limits in memory: of this process, or of all workers of one gateway."""

import struct
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from server.config.api_key_settings import Limit
from server.limits.locked_memory import LockedMemory
from server.limits.store import Demand, StoreAnswer
from server.limits.window import Window, charged, fits, moved

_WINDOW = struct.Struct("<qdd")
_MAX_LIMITS = 4
"""Of a key."""

_ROW = _MAX_LIMITS * _WINDOW.size


def table_bytes(keys: int) -> int:
    """The size of a table of so many keys."""
    return max(1, keys) * _ROW


class KeyTable:
    """A store that forgets when the gateway stops.

    Args:
        limits: the limits of each key, by its name; the same in all workers.
        file: of `table_bytes` zeros at first, which the workers share; None for this process alone.
        clock: Unix seconds.
    """

    def __init__(
        self,
        limits: Mapping[str, Sequence[Limit]],
        file: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._offsets = {
            (key, limit.name): row * _ROW + column * _WINDOW.size
            for row, (key, of_key) in enumerate(limits.items())
            for column, limit in enumerate(of_key)
        }
        self._clock = clock
        self._lock = LockedMemory(table_bytes(len(limits)), file)
        self._memory = self._lock.buffer

    async def take(self, key: str, demands: Sequence[Demand]) -> StoreAnswer:
        return self._take(key, demands)

    def settle(self, key: str, demands: Sequence[Demand]) -> None:
        self._take(key, demands)

    async def close(self) -> None:
        self._lock.close()

    def _take(self, key: str, demands: Sequence[Demand]) -> StoreAnswer:
        offsets = [self._offsets[key, demand.limit.name] for demand in demands]
        with self._lock:
            return self._charge(offsets, demands)

    def _charge(self, offsets: Sequence[int], demands: Sequence[Demand]) -> StoreAnswer:
        now = self._clock()
        windows: list[Window] = []
        refused = None
        for offset, demand in zip(offsets, demands, strict=True):
            window = Window(*_WINDOW.unpack_from(self._memory, offset))
            window = moved(window, demand.limit, now)
            windows.append(window)
            if not (demand.forced or refused or fits(window, demand.limit, now, demand.amount)):
                refused = demand.limit
        if refused is not None:
            return StoreAnswer(refused, now, tuple(windows))
        for index, (offset, demand) in enumerate(zip(offsets, demands, strict=True)):
            windows[index] = charged(windows[index], demand.amount, demand.span)
            _WINDOW.pack_into(self._memory, offset, *windows[index])
        return StoreAnswer(None, now, tuple(windows))
