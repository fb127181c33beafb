"""A bounded table of turns in memory that all workers of a gateway share.

A hash table of fixed size in plain bytes, without locks: eight slots a bucket, of which the one
that was used longest ago is overwritten. A slot has a checksum, so that one that two workers write
at once counts as empty.
"""

import struct
import time
from typing import NamedTuple
from zlib import crc32

_SLOT = struct.Struct("<16s16sBBxxII")
"""Key, conversation, effort's rank + 1 or 0, flags, time of use (Unix seconds), checksum."""
_FOREIGN, _CONTINUED = 1, 2
_CHECKED = 36
_TIMES = struct.Struct("<" + 8 * "36xI4x")
_WAYS = 8
_BUCKET = _WAYS * _SLOT.size

CAPACITY = 2**18
"""Slots, of 44 bytes each."""

BYTES = CAPACITY * _SLOT.size


class Entry(NamedTuple):
    """What is remembered under a key.

    Attributes:
        conversation: 16 bytes; all zero where several conversations have the key.
        rank: of the effort; None where no effort is to be carried on.
        foreign: whether the key was looked up in the ledger and is not there.
        continued: whether a later turn followed from it.
        at: Unix seconds of its last use.
    """

    conversation: bytes
    rank: int | None
    foreign: bool = False
    continued: bool = False
    at: int = 0


class TurnMemory:
    """The table.

    Args:
        memory: writable zero bytes that other processes may share, a multiple of a bucket's 352.
    """

    def __init__(self, memory: memoryview | None = None) -> None:
        self._memory = memory if memory is not None else memoryview(bytearray(BYTES))
        self._buckets = len(self._memory) // _BUCKET

    def get(self, key: bytes) -> Entry | None:
        """The entry of a key of 16 random bytes, which counts as used now."""
        start = self._start(key)
        bucket = bytes(self._memory[start : start + _BUCKET])
        at = bucket.find(key)
        if at < 0 or at % _SLOT.size:
            return None
        slot = bucket[at : at + _SLOT.size]
        _, conversation, effort, flags, used_at, checksum = _SLOT.unpack(slot)
        if crc32(slot[:_CHECKED]) != checksum:
            return None
        foreign = bool(flags & _FOREIGN)
        if not foreign and used_at != int(time.time()):  # foreign ones expire
            self._write(start + at, key, conversation, effort, flags)
        rank = effort - 1 if effort else None
        return Entry(conversation, rank, foreign, bool(flags & _CONTINUED), used_at)

    def put(self, key: bytes, entry: Entry) -> None:
        """Store an entry in the place of the key's former one, or of the bucket's oldest."""
        start = self._start(key)
        bucket = bytes(self._memory[start : start + _BUCKET])
        at = bucket.find(key)
        if at < 0 or at % _SLOT.size:
            times = _TIMES.unpack(bucket)
            at = _SLOT.size * times.index(min(times))
        effort = 0 if entry.rank is None else entry.rank + 1
        flags = _FOREIGN * entry.foreign | _CONTINUED * entry.continued
        self._write(start + at, key, entry.conversation, effort, flags)

    def _start(self, key: bytes) -> int:
        return int.from_bytes(key[:8], "big") % self._buckets * _BUCKET

    def _write(self, at: int, key: bytes, conversation: bytes, effort: int, flags: int) -> None:
        slot = _SLOT.pack(key, conversation, effort, flags, int(time.time()), 0)
        checksum = crc32(slot[:_CHECKED])
        self._memory[at : at + _SLOT.size] = slot[:-4] + checksum.to_bytes(4, "little")
