"""The summaries of the ledger: always the sums of its rows, on SQLite and PostgreSQL."""

import time
from collections.abc import Sequence

import numpy as np
import pytest
from sqlalchemy import Engine, insert, text
from test_server_ledger import engine, postgres
from test_server_savings_report import simulated

from server.ledger.prune import prune_chunk
from server.ledger.reader import snapshot
from server.ledger.schema import prepare
from server.ledger.selection import Selection
from server.ledger.summaries import add_again, add_new, hold, subtract
from server.ledger.tables import DIMENSIONS, SLOT_SECONDS, SUMS, metadata, requests
from server.ledger.totals import read_totals

__all__ = ["engine", "postgres"]

DAY = SLOT_SECONDS[-1]
NOW = time.time()


def fill(engine: Engine, number: int = 600) -> None:
    """Rows of the last four days, in no order of time, some refused or without an estimate."""
    rows = simulated(number)
    for place, row in enumerate(rows):
        row["at"] = NOW - 4 * DAY * ((place * 7_919) % number) / number
        row["status"] = (200, 200, 200, 503, 429)[place % 5]
        row["baseline_tokens"] = row["baseline_tokens"] if place % 3 else None
        row["score"] = row["score"] if place % 4 == 0 else None
    with engine.begin() as connection:
        connection.execute(insert(requests), rows)


def add_all(engine: Engine, rows: int = 250) -> None:
    for _ in range(20):
        add_new(engine, rows)


Sums = dict[tuple[str, ...], Sequence[float]]


def by_dimensions(engine: Engine, since: float | None = None) -> Sums:
    with snapshot(engine) as connection:
        columns = read_totals(connection, Selection(since)).columns
    found: dict[tuple[str, ...], np.ndarray] = {}
    for place in range(len(columns["slot"])):
        name = tuple(str(columns[dimension][place]) for dimension in ("slot", *DIMENSIONS))
        sums = np.array([columns[column][place] for column in SUMS])
        found[name] = found.get(name, 0) + sums
    return {name: sums.tolist() for name, sums in found.items() if sums[0] > 0.5}


def same(one: Sums, other: Sums) -> bool:
    return one.keys() == other.keys() and all(
        sums == pytest.approx(other[name], rel=1e-9, abs=1e-6) for name, sums in one.items()
    )


def test_totals_are_the_same_before_and_after_rows_are_summed(engine: Engine) -> None:
    fill(engine)
    moments = (None, NOW - 3 * DAY - 1_234.5, NOW - 1_000.25)
    before = [by_dimensions(engine, since) for since in moments]
    assert sum(sums[0] for sums in before[0].values()) == 600
    add_all(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT upto FROM summarized")).scalar() == 600
    for since, rows in zip(moments, before, strict=True):
        assert same(by_dimensions(engine, since), rows)


def test_what_is_deleted_or_scored_later_leaves_the_sums_right(engine: Engine) -> None:
    fill(engine)
    add_all(engine)
    before = NOW - 2 * DAY
    assert prune_chunk(engine, before, rows=100) == 100
    while prune_chunk(engine, before, rows=100):
        pass
    own = requests.c.id == 555
    with engine.begin() as connection:
        upto = hold(connection)
        subtract(connection, upto, own)
        connection.execute(requests.update().where(own).values(score=0.25, at=NOW))
        add_again(connection, upto, own)
    kept = by_dimensions(engine)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM summaries"))
        connection.execute(text("UPDATE summarized SET upto = 0, settling = 0"))
    assert same(by_dimensions(engine), kept)
    assert 0 < sum(sums[0] for sums in kept.values()) < 600


def test_rows_after_the_newest_were_deleted_are_summed_too(engine: Engine) -> None:
    fill(engine, 50)
    add_all(engine)
    while prune_chunk(engine, NOW + 1):
        pass
    fill(engine, 30)
    add_all(engine)
    assert sum(sums[0] for sums in by_dimensions(engine).values()) == 30


def test_in_postgres_a_row_that_is_committed_late_is_not_left_out(
    request: pytest.FixtureRequest, engine: Engine
) -> None:
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    row = simulated(1)[0]
    with engine.connect() as late:
        late.execute(insert(requests), [row])  # the lower id, not committed
        fill(engine, 20)
        add_all(engine)
        late.commit()
    assert sum(sums[0] for sums in by_dimensions(engine).values()) == 21
    add_all(engine)
    assert sum(sums[0] for sums in by_dimensions(engine).values()) == 21


def test_a_ledger_of_an_older_version_is_summed_with_its_rows(engine: Engine) -> None:
    """From the oldest schema, with rows in it."""
    fill(engine, 40)
    with engine.begin() as connection:
        for name in ("agent", "answer", "response", "conversation", "holdout"):
            connection.execute(text(f"DROP INDEX ix_requests_{name}"))
        for column in (
            "pinned", "agent", "answer", "kind", "first_answer_seconds", "budget_source",
            "response", "loop_turn", "cached_tokens", "cache_write_tokens", "unsplit_tokens",
        ):  # fmt: skip
            connection.execute(text(f"ALTER TABLE requests DROP COLUMN {column}"))
        for table in metadata.tables.keys() - {"requests", "secret"}:
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    prepare(engine)
    before = by_dimensions(engine)
    add_all(engine)
    assert same(by_dimensions(engine), before)
    assert sum(sums[0] for sums in before.values()) == 40
