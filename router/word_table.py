"""The words of many prompts as arrays: a fifth of the memory of a mapping each, and no loops."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from router.arrays import Array, Index

_CHUNK = 2_048
"""Prompts that are taken together, to bound the memory of intermediate arrays."""


@dataclass(frozen=True)
class WordTable(Sequence[dict[bytes, int]]):
    """Occurrences of words in N prompts, W in all; the n-th prompt has those from starts[n].

    `names`: all distinct words. `ids` (W,): indices of names. `counts` (W,): occurrences in the
    prompt. `starts` (N + 1,).
    """

    names: tuple[bytes, ...]
    ids: NDArray[np.int32]
    counts: NDArray[np.int32]
    starts: Index

    @classmethod
    def of(cls, prompts: Iterable[Mapping[bytes, int]]) -> "WordTable":
        """The words of each prompt, in the order of its mapping."""
        numbers: dict[bytes, int] = {}
        ids, counts, starts = array("i"), array("i"), array("q", [0])
        for words in prompts:
            ids.extend([numbers.setdefault(word, len(numbers)) for word in words])
            counts.extend(words.values())
            starts.append(len(ids))
        return cls(
            tuple(numbers),
            np.array(ids, dtype=np.int32),
            np.array(counts, dtype=np.int32),
            np.array(starts, dtype=np.intp),
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, index: int) -> dict[bytes, int]: ...
    @overload
    def __getitem__(self, index: slice) -> "WordTable": ...
    def __getitem__(self, index: int | slice) -> "dict[bytes, int] | WordTable":
        if isinstance(index, slice):
            return self.rows(np.arange(len(self), dtype=np.intp)[index])
        row = range(len(self))[index]
        cells = slice(int(self.starts[row]), int(self.starts[row + 1]))
        ids: list[int] = self.ids[cells].tolist()
        counts: list[int] = self.counts[cells].tolist()
        return {self.names[i]: count for i, count in zip(ids, counts, strict=True)}

    def rows(self, rows: Index) -> "WordTable":
        """The prompts `rows` (M,)."""
        lengths = np.diff(self.starts)[rows]
        ends = np.cumsum(lengths)
        cells = np.arange(int(lengths.sum()), dtype=np.intp)
        cells += np.repeat(self.starts[rows] - (ends - lengths), lengths)
        starts = np.concatenate([[0], ends]).astype(np.intp)
        return WordTable(self.names, self.ids[cells], self.counts[cells], starts)

    def chunks(self) -> Iterator[tuple[slice, "WordTable"]]:
        """Which prompts, and their words: a view of each few thousand."""
        for start in range(0, len(self), _CHUNK):
            rows = slice(start, min(start + _CHUNK, len(self)))
            first, last = int(self.starts[rows.start]), int(self.starts[rows.stop])
            starts = self.starts[rows.start : rows.stop + 1] - first
            yield (
                rows,
                WordTable(self.names, self.ids[first:last], self.counts[first:last], starts),
            )

    def prompt_of(self) -> Index:
        """The prompt (W,) of each word."""
        return np.repeat(np.arange(len(self), dtype=np.intp), np.diff(self.starts))

    def frequent(self, size: int) -> list[tuple[bytes, int]]:
        """The words of the most prompts, with their number; of equal ones, those that come first.

        The same as `Counter.most_common` of the prompts' keys.
        """
        prompts = np.bincount(self.ids, minlength=len(self.names))
        first = np.full(len(self.names), len(self.ids))
        first[self.ids[::-1]] = np.arange(len(self.ids))[::-1]
        order = np.lexsort((first, -prompts))[:size]
        return [(self.names[i], count) for i in order.tolist() if (count := int(prompts[i]))]

    def unknown_shares(self, is_known: NDArray[np.bool_]) -> Array:
        """The share (N,) of each prompt's words that is unknown, 0 for no words.

        The larger of two: of its distinct words, and of their occurrences. `is_known`: per name.
        """
        shares = np.zeros(len(self))
        for rows, words in self.chunks():
            unknown = ~is_known[words.ids]
            prompt, size = words.prompt_of(), len(words)
            for weights in (np.ones(len(words.ids)), words.counts):
                every = np.bincount(prompt, weights=weights, minlength=size)
                part = np.bincount(prompt, weights=unknown * weights, minlength=size)
                shares[rows] = np.maximum(shares[rows], part / np.maximum(every, 1))
        return shares
