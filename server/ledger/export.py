"""Exports the ledger's requests to a Parquet file, for other tools."""

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    Engine,
    Float,
    Integer,
    Text,
    select,
)
from sqlalchemy import cast as sql_cast

from server.ledger.reader import id_range, reading
from server.ledger.selection import Selection
from server.ledger.tables import requests

_BATCH_IDS = 50_000


class ParquetMissing(Exception):  # noqa: N818 - reads as what it says
    """The library that writes Parquet is not installed; the message says what to do."""


def export(
    engine: Engine, selection: Selection, path: Path, progress: Callable[[int], None]
) -> int:
    """Write the requests to a file, which is complete or absent; how many they are.

    Each batch is read by itself: no transaction stays open, and gateways write on. Requests that
    arrive after the begin are left out.

    Args:
        engine: the ledger's.
        selection: which requests to export.
        path: of the new file.
        progress: is called with the number of ids that are done since the last call.

    Raises:
        ParquetMissing: pyarrow is not installed.
        LedgerDown: the ledger cannot be read.
        OSError: the file cannot be written.
    """
    try:
        arrow: Any = import_module("pyarrow")  # of an extra
        parquet: Any = import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ParquetMissing(
            "tops ledger export writes Parquet with pyarrow, which is not installed: "
            "pip install 'tops-server[parquet]'"
        ) from error
    schema = arrow.schema([(column.name, _type(arrow, column)) for column in requests.c])
    part = path.with_name(path.name + ".part")
    exported = 0
    try:
        with parquet.ParquetWriter(part, schema, compression="zstd") as writer:
            for ids, rows in _batches(engine, selection):
                if rows:
                    columns = [
                        arrow.array(values, field.type)
                        for values, field in zip(zip(*rows, strict=True), schema, strict=True)
                    ]
                    writer.write_batch(arrow.record_batch(columns, schema=schema))
                exported += len(rows)
                progress(ids)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return exported


def _batches(engine: Engine, selection: Selection) -> Iterator[tuple[int, list[Any]]]:
    with reading(engine) as connection:
        lowest, highest = id_range(connection, selection)
        query = select(*map(_plain, requests.c)).where(*selection.where()).order_by(requests.c.id)
        for begin in range(lowest, highest + 1, _BATCH_IDS):
            end = min(begin + _BATCH_IDS - 1, highest)
            rows = connection.execute(query.where(requests.c.id.between(begin, end))).all()
            connection.rollback()
            yield end - begin + 1, [*rows]


def _plain(column: Column[Any]) -> ColumnElement[Any]:
    """The column; of JSON, its text."""
    return sql_cast(column, Text) if isinstance(column.type, JSON) else column


def _type(arrow: Any, column: Column[Any]) -> Any:
    """The type of a column in Arrow."""
    if isinstance(column.type, Boolean):
        return arrow.bool_()
    if isinstance(column.type, Integer):
        return arrow.int64()
    return arrow.float64() if isinstance(column.type, Float) else arrow.string()
