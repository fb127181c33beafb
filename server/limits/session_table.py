"""The use of session budgets in memory: of this process, or of all workers of one gateway.

A hash table of fixed size; in each bucket, the session that was used longest ago is overwritten.
"""

import hashlib
import struct
import time
from collections.abc import Sequence
from pathlib import Path

from server.limits.locked_memory import LockedMemory
from server.limits.store import Demand, StoreAnswer
from server.limits.window import Window, fits

_SLOT = struct.Struct("<16sddd")
"""Key, turns, thinking tokens, and the time of use in Unix seconds."""
_USES = struct.Struct("<dd")
_KEY_BYTES = 16
_WAYS = 8
_BUCKET = _WAYS * _SLOT.size
_BUCKETS = 8_192

TABLE_BYTES = _BUCKETS * _BUCKET
"""Of 65,536 sessions, 40 bytes each."""


class SessionTable:
    """A store of two counters per session, which never refill.

    Args:
        file: of TABLE_BYTES zeros at first, which the workers share; None for this process alone.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._lock = LockedMemory(TABLE_BYTES, file)
        self._memory = self._lock.buffer

    def knows(self, key: str) -> bool:
        """Whether something was charged to a session that has not been overwritten."""
        digest = _digest(key)
        start = _start(digest)
        return self._memory[start : start + _BUCKET].find(digest) % _SLOT.size == 0

    def seed(self, key: str, turns: float, tokens: float) -> None:
        """Begin a session with what it has used already, unless it is known by now."""
        digest = _digest(key)
        with self._lock:
            if not self.knows(key):
                self._write(self._slot_of(digest), digest, turns, tokens)

    async def take(self, key: str, demands: Sequence[Demand]) -> StoreAnswer:
        return self._take(key, demands)

    def settle(self, key: str, demands: Sequence[Demand]) -> None:
        self._take(key, demands)

    async def close(self) -> None:
        self._lock.close()

    def _take(self, key: str, demands: Sequence[Demand]) -> StoreAnswer:
        digest, now = _digest(key), time.time()
        with self._lock:
            at = self._slot_of(digest)
            used = [0.0, 0.0]
            if self._memory[at : at + _KEY_BYTES] == digest:
                used = [*_USES.unpack_from(self._memory, at + _KEY_BYTES)]
            windows = [Window(0, used[_counter(demand)]) for demand in demands]
            refused = next(
                (
                    demand.limit
                    for demand, window in zip(demands, windows, strict=True)
                    if not demand.forced and not fits(window, demand.limit, now, demand.amount)
                ),
                None,
            )
            if refused is None:
                for demand in demands:
                    counter = _counter(demand)
                    used[counter] = max(0.0, used[counter] + demand.amount)
                self._write(at, digest, *used)
                windows = [Window(0, used[_counter(demand)]) for demand in demands]
        return StoreAnswer(refused, now, tuple(windows))

    def _slot_of(self, digest: bytes) -> int:
        """The session's slot, or that of its bucket which was used longest ago."""
        start = _start(digest)
        slots = range(start, start + _BUCKET, _SLOT.size)
        for at in slots:
            if self._memory[at : at + _KEY_BYTES] == digest:
                return at
        return min(slots, key=lambda at: _SLOT.unpack_from(self._memory, at)[3])

    def _write(self, at: int, digest: bytes, turns: float, tokens: float) -> None:
        _SLOT.pack_into(self._memory, at, digest, turns, tokens, time.time())


def _counter(demand: Demand) -> int:
    return 0 if demand.limit.unit == "requests" else 1


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=_KEY_BYTES).digest()


def _start(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "little") % _BUCKETS * _BUCKET
