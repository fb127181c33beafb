"""Totals of a selection of requests: from the summaries, and from the rows that they lack."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, func, select

from server.ledger.reader import Columns
from server.ledger.selection import Selection
from server.ledger.summaries import RECENT_SECONDS, summarized_upto
from server.ledger.sums import summed
from server.ledger.tables import DIMENSIONS, SLOT_SECONDS, SUMS, requests, summaries
from server.lifecycle.tracker import CLIENT_CLOSED_REQUEST

_FINE, _, DAY_SECONDS = SLOT_SECONDS


class Totals:
    """Sums of requests by slot of time and the DIMENSIONS.

    `columns` has an array (G,) per name: `slot` (Unix seconds, where it begins), the DIMENSIONS
    (objects; '' where absent; `status` and `compared` are integers), and the SUMS (floats).
    """

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        status = columns["status"]
        self._accepted = (status < 400) | (status >= CLIENT_CLOSED_REQUEST)

    def counts(self) -> dict[str, int]:
        """Accepted requests by arm; explicit if the client chose the effort."""
        return self._by_arm(self._accepted)

    def refused(self) -> int:
        """Requests refused with 400 to 498: they have an effort, but no engine worked on them."""
        return int(self.columns["requests"][~self._accepted].sum())

    def not_comparable(self) -> int:
        """Answered requests of an arm at a time without a holdout."""
        return int(self.columns["requests"][self.columns["compared"] == 0].sum())

    def accepted(self) -> "Totals":
        """Of requests that an engine worked on: not refused with 400 to 498."""
        return self.subset(self._accepted)

    def compared(self) -> "Totals":
        """Of answered requests, treated or held out, while there was a holdout."""
        return self.subset(self.columns["compared"] == 1)

    def subset(self, groups: NDArray[np.bool_]) -> "Totals":
        """Of the groups that a mask (G,) selects."""
        return Totals({name: column[groups] for name, column in self.columns.items()})

    def _by_arm(self, groups: NDArray[np.bool_]) -> dict[str, int]:
        count: dict[str, int] = {}
        arms, requests = self.columns["arm"][groups], self.columns["requests"][groups]
        for arm, number in zip(arms.tolist(), requests.tolist(), strict=True):
            count[arm or "explicit"] = count.get(arm or "explicit", 0) + int(number)
        return count


def read_totals(
    connection: Connection,
    selection: Selection,
    slot_seconds: int | None = DAY_SECONDS,
    dimensions: Sequence[str] = DIMENSIONS,
    sums: Sequence[str] = SUMS,
) -> Totals:
    """The totals, of rows and of summaries. Read all of one report in one snapshot.

    Args:
        connection: to the database.
        selection: which requests count.
        slot_seconds: the slots' width, a multiple of a width in SLOT_SECONDS; None: one slot.
        dimensions: those that are told apart; the others are ''.
        sums: those that are read; the others are 0.
    """
    upto = summarized_upto(connection)
    wanted = _Wanted(slot_seconds, dimensions, sums)
    parts = [summed(connection, slot_seconds, requests.c.id > upto, *selection.where())]
    for begin, end, width in _spans(selection.since, slot_seconds or DAY_SECONDS):
        if width:
            where = _within(selection, width, begin, end)
            parts.append(_from_summaries(connection, wanted, *where))
        elif end > begin:
            edge = requests.c.at < end, requests.c.id <= upto, *selection.where()
            parts.append(summed(connection, slot_seconds, *edge))
    return _as_totals([row for part in parts for row in part])


@dataclass(frozen=True)
class _Wanted:
    slot_seconds: int | None
    dimensions: Sequence[str]
    sums: Sequence[str]


def _spans(since: float | None, widest: int) -> Iterator[tuple[float, float, int]]:
    """Begin, end and width of the slots that cover the time from `since` on; width 0: rows."""
    if since is None:
        yield float("-inf"), float("inf"), max(width for width in SLOT_SECONDS if width <= widest)
        return
    begin, width = since, 0
    recent = since >= time.time() - RECENT_SECONDS
    for wider in SLOT_SECONDS:
        if wider > widest or (wider == _FINE and not recent):
            continue
        end = -(-begin // wider) * wider
        if end > begin:
            yield begin, end, width
        begin, width = end, wider
    yield begin, float("inf"), width


def _within(
    selection: Selection, width: int, begin: float, end: float
) -> list[ColumnElement[bool]]:
    columns = summaries.c
    where = [columns.slot_seconds == width, *selection.of(summaries)]
    if begin > float("-inf"):
        where.append(columns.slot >= int(begin))
    if end < float("inf"):
        where.append(columns.slot < int(end))
    return where


def _from_summaries(
    connection: Connection, wanted: _Wanted, *where: ColumnElement[bool]
) -> Sequence[Sequence[Any]]:
    columns, seconds = summaries.c, wanted.slot_seconds
    keys = [columns[name] for name in wanted.dimensions]
    if seconds is not None:
        keys = [(columns.slot - columns.slot % seconds).label("begin"), *keys]
    sums = [func.sum(columns[name]) for name in wanted.sums]
    query = select(*keys, *sums).where(*where).group_by(*keys)
    if not keys:
        query = query.having(func.count() > 0)
    rows = connection.execute(query).all()
    names_read = [*(["slot"] if seconds is not None else []), *wanted.dimensions, *wanted.sums]
    absent = {"slot": 0} | dict.fromkeys(DIMENSIONS, "") | dict.fromkeys(SUMS, 0.0)
    absent |= {"status": 0, "compared": -1}
    names = ("slot", *DIMENSIONS, *SUMS)
    if names_read == [*names]:
        return rows
    places = {name: number for number, name in enumerate(names_read)}
    return [
        [row[places[name]] if name in places else absent[name] for name in names] for row in rows
    ]


def _as_totals(rows: Sequence[Sequence[Any]]) -> Totals:
    names = ("slot", *DIMENSIONS, *SUMS)
    values = list(zip(*rows, strict=True)) or [()] * len(names)
    kinds = dict.fromkeys(DIMENSIONS, np.dtype(object))
    kinds |= {"slot": np.dtype(np.int64), "status": np.dtype(int), "compared": np.dtype(int)}
    return Totals(
        {
            name: np.array(column, dtype=kinds.get(name, np.dtype(float)))
            for name, column in zip(names, values, strict=True)
        }
    )
