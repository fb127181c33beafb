"""Sums of values by conversation, of more requests than fit into the memory."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import blake2b
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from server.savings.sample import Array

_PARTS = 16
_ID_CHARACTERS = 32
_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


class ConversationSums:
    """Keeps values by conversation in temporary files, and sums them at the end.

    Each request takes 8 bytes of disk, and 8 for each of its `values`.
    """

    def __init__(self, values: int) -> None:
        self._values = values
        self._stack = ExitStack()
        self._files: list[IO[bytes]] = [
            self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - it is entered
            for _ in range(_PARTS)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, hashes: NDArray[np.uint64], values: Array) -> None:
        """Add requests: hashes of their conversations (N,) and values (N, `values`)."""
        records = np.empty((len(hashes), 1 + self._values))
        part = (hashes >> np.uint64(60)).astype(np.uint8)
        order = np.argsort(part, kind="stable")  # a radix sort
        records[:, 0] = hashes[order].view(np.float64)
        records[:, 1:] = values[order]
        ends = np.cumsum(np.bincount(part, minlength=_PARTS))[:-1]
        for file, share in zip(self._files, np.split(records, ends), strict=True):
            file.write(share.tobytes())

    def parts(self) -> Iterator[tuple[NDArray[np.intp], Array]]:
        """Of some conversations at a time: their index (N,) and values (N, `values`)."""
        for file in self._files:
            file.seek(0)
            records = np.frombuffer(file.read()).reshape(-1, 1 + self._values)
            hashes = np.ascontiguousarray(records[:, 0]).view(np.uint64)
            yield np.unique(hashes, return_inverse=True)[1], records[:, 1:]


def hashes_of(conversations: str) -> NDArray[np.uint64]:
    """A hash of each conversation (N,), alike for equal ones; commas separate their ids."""
    number = (len(conversations) + 1) // (_ID_CHARACTERS + 1)
    has_only_ids = conversations[_ID_CHARACTERS :: _ID_CHARACTERS + 1] == "," * (number - 1)
    ids = _read_hexadecimal(conversations.replace(",", "")) if has_only_ids else b""
    if ids and 2 * len(ids) == number * _ID_CHARACTERS:
        halves = np.frombuffer(ids, dtype=">u8").astype(np.uint64)
        high, low = halves.reshape(-1, 2).T
        mixed = (high ^ (low >> _HALF) ^ (low * _MIX)) * _MIX
        return mixed ^ (mixed >> _HALF)
    names = conversations.split(",")
    digests = [blake2b(name.encode(), digest_size=8).digest() for name in names]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def _read_hexadecimal(digits: str) -> bytes:
    """The bytes; none if there is anything but digits and small letters."""
    try:
        ids = bytes.fromhex(digits)
    except ValueError:
        return b""
    return ids if ids.hex() == digits else b""
