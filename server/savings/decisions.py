"""Decisions of the ledger as arrays, for policies that choose for many requests at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from server.ledger.decisions import Batch
from server.savings.conversation_sums import hashes_of
from server.savings.estimates import read_alike
from server.savings.sample import Array

_Index = NDArray[np.intp]
_Estimate = dict[str, float]
_ESTIMATES = ("p_correct", "expected_tokens")
_NUMBERS = ("p_treated", "p_holdout", "p_explore", "choices", "thinking_tokens")


@dataclass(frozen=True)
class Decisions:
    """N requests whose estimates have the same efforts.

    `names`: of all efforts and composite efforts; what follows are places in it. `efforts`: those
    with a P(correct), which `p_correct` (N, E) has; empty if there is no estimate of it. `levels`:
    those with expected thinking tokens, `tokens` (N, L). `effort`, `routed` and `baseline` (N,):
    what the request got, what the router chose, and the baseline; -1 if absent. `conversation`:
    hashes (N,). All others are (N,) too.
    """

    names: Sequence[str]
    efforts: Sequence[int]
    levels: Sequence[int]
    p_correct: Array
    tokens: Array
    effort: _Index
    routed: _Index
    baseline: _Index
    abstained: NDArray[np.bool_]
    conversation: NDArray[np.uint64]
    p_treated: Array
    p_holdout: Array
    p_explore: Array
    choices: Array
    thinking_tokens: Array

    @property
    def column(self) -> _Index:
        """Of each name, its column in `p_correct`, or -1."""
        return _places(self.efforts, len(self.names))

    @property
    def tokens_of_efforts(self) -> Array:
        """Expected thinking tokens of `efforts` (N, E)."""
        return np.stack(
            [self.tokens_of(np.full(len(self.effort), code)) for code in self.efforts], axis=1
        )

    def tokens_of(self, chosen: _Index) -> Array:
        """Expected thinking tokens of one effort per request (N,); nan where there are none."""
        column = _places(self.levels, len(self.names))[chosen]
        tokens = self.tokens[np.arange(len(chosen)), column]
        return np.where(column >= 0, tokens, np.nan)


def decisions_of(batch: Batch) -> Iterator[Decisions]:
    """The requests of a batch that have expected tokens, by the efforts of their estimates."""
    number = len(batch["effort"])
    chances, tokens = (read_alike(batch[name], number) for name in _ESTIMATES)
    if chances is not None and tokens is not None:
        if tokens[0]:
            yield _decisions(batch, *chances, *tokens)
    else:
        yield from chain.from_iterable(map(decisions_of, _by_estimate(batch)))


def _by_estimate(batch: Batch) -> Iterator[Batch]:
    """Parts of a batch, each of requests whose estimates have the same efforts in one order."""
    estimates: dict[str, list[_Estimate]] = {
        name: [estimate or {} for estimate in orjson.loads(batch[name])] for name in _ESTIMATES
    }
    shapes = [*zip(*(map(tuple, column) for column in estimates.values()), strict=True)]
    columns: dict[str, Sequence[Any]]
    columns = {**batch, **estimates, "conversation": batch["conversation"].split(",")}
    for shape in {*shapes}:
        at = [other == shape for other in shapes]
        part = {name: [*compress(column, at)] for name, column in columns.items()}
        texts = {name: orjson.dumps(part[name]).decode() for name in _ESTIMATES}
        yield {**part, **texts, "conversation": ",".join(part["conversation"])}


def _decisions(
    batch: Batch, efforts: Sequence[str], p_correct: Array, levels: Sequence[str], tokens: Array
) -> Decisions:
    places = _Codes()
    codes = {name: places.of(batch[name]) for name in ("effort", "routed", "baseline")}
    of_chances, of_tokens = ([places[name] for name in names] for names in (efforts, levels))
    numbers = {name: np.array(batch[name], dtype=float) for name in _NUMBERS}
    return Decisions(
        names=[name for name in places if name is not None],
        efforts=of_chances,
        levels=of_tokens,
        p_correct=p_correct,
        tokens=tokens,
        **codes,
        abstained=np.fromiter(map(bool, batch["abstained"]), dtype=bool, count=len(tokens)),
        conversation=hashes_of(batch["conversation"]),
        **{name: np.nan_to_num(number, nan=0.0) for name, number in numbers.items()},
    )


class _Codes(dict[str | None, int]):
    """The place of each name among those that were asked for; -1 of None."""

    def __missing__(self, name: str | None) -> int:
        place = self[name] = -1 if name is None else len(self) - (None in self)
        return place

    def of(self, names: Sequence[str | None]) -> _Index:
        return np.fromiter(map(self.__getitem__, names), dtype=np.intp, count=len(names))


def _places(columns: Sequence[int], names: int) -> _Index:
    places = np.full(names, -1, dtype=np.intp)
    places[list(columns)] = np.arange(len(columns))
    return places
