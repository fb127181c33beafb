"""A ledger on bad days: races, damage, a file that goes away, a clock that is wrong."""

import sqlite3
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ledgers import connect
from sqlalchemy import Engine, event, text
from structlog.testing import capture_logs
from test_server_ledger import closed, counter, value

from server.config.load_settings import load_settings
from server.ledger.opening import open_ledger
from server.ledger.reader import latest
from server.ledger.request_scores import store_request_score
from server.ledger.retention import Retention
from server.ledger.schema import LedgerError, prepare, requests, shared_key
from server.ledger.writer import Ledger
from server.observe.metrics import Metrics

DAY = 86_400.0
KEY = b"k" * 32


def ledger_of(path: Path, key: bytes | None = KEY) -> Ledger:
    engine = connect(f"sqlite:///{path}")
    return Ledger(engine, counter("w"), counter("l"), None, prepared=False, key=key)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Generator[Ledger]:
    """A ledger with one row, open."""
    ledger = ledger_of(path)
    write(ledger, "early")
    yield ledger
    ledger.engine.dispose()


def write(ledger: Ledger, *names: str) -> bool:
    for name in names:
        ledger.record(closed(name))
    return ledger._write_all()


def names(path: Path) -> list[str]:
    engine = connect(f"sqlite:///{path}")
    try:
        return [row["request_id"] for row in latest(engine, 99)]
    finally:
        engine.dispose()


@pytest.mark.parametrize("attempt", range(8))
def test_gateways_that_start_together_on_a_new_file_get_one_key(path: Path, attempt: int) -> None:
    """The switch to the write-ahead log failed for one of them, once in some attempts."""
    keys: set[bytes] = set()
    together = threading.Barrier(6)

    def start() -> None:
        engine = connect(f"sqlite:///{path}")
        together.wait()
        prepare(engine)
        keys.add(shared_key(engine))
        engine.dispose()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 1


def test_the_key_is_read_as_soon_as_the_database_is_there(tmp_path: Path) -> None:
    """Also where no request has come yet: the first one must be drawn by the right key."""
    folder = tmp_path / "not there yet"
    url = f"sqlite:///{folder}/ledger.db"
    settings = load_settings({"ledger": url})
    ledger, temporary = open_ledger(settings, Metrics())
    assert ledger is not None
    keys: list[bytes] = []
    ledger.on_key = keys.append
    assert not ledger._write_all()
    folder.mkdir()
    engine = connect(url)
    prepare(engine)
    stored = shared_key(engine)
    assert ledger._write_all()
    assert (keys, stored != temporary) == ([stored], True)
    for each in (engine, ledger.engine):
        each.dispose()


def test_workers_without_a_database_begin_with_the_parent_s_key(tmp_path: Path) -> None:
    settings = load_settings({"ledger": f"sqlite:///{tmp_path}/no/folder/ledger.db"})
    assert open_ledger(settings, Metrics(), KEY)[1] == KEY


def test_a_key_of_the_settings_is_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch, ledger: Ledger
) -> None:
    monkeypatch.setenv("TOPS_HASH_KEY", "x" * 16)
    settings = load_settings({"ledger": f"sqlite:///{path}"})
    opened, key = open_ledger(settings, Metrics())
    assert key == b"x" * 16
    assert opened is not None
    assert opened._key is None
    opened.engine.dispose()


def spoil_a_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\x07" * 4096)


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        ("a page", "damaged"),
        ("DROP TABLE requests", "no table requests"),
        ("DROP TABLE secret", "no table secret"),
        ("ALTER TABLE requests DROP COLUMN seconds", "lacks seconds"),
        ("UPDATE secret SET value = 'no key'", "secret key"),
        ("UPDATE secret SET value = ''", "secret key"),
        ("DELETE FROM alembic_version", "already exists"),
    ],
)
def test_a_damaged_ledger_is_refused_with_what_to_do(path: Path, damage: str, cause: str) -> None:
    ledger = ledger_of(path)
    write(ledger, *map(str, range(200)))
    ledger.engine.dispose()
    if damage == "a page":
        spoil_a_page(path)
    else:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(damage)
        connection.close()
    with pytest.raises(LedgerError, match=cause) as error:
        open_ledger(load_settings({"ledger": f"sqlite:///{path}"}), Metrics())
    assert "move it away" in str(error.value)
    assert ".recover" in str(error.value)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "mysql://host/name", "nodb://h"]
)
def test_only_databases_that_can_hold_a_ledger_are_accepted(url: str) -> None:
    with pytest.raises(LedgerError, match="sqlite:///FILE or postgresql"):
        connect(url)


def test_rows_that_are_lost_at_the_end_are_told(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path / "no folder" / "ledger.db")
    for name in ("a", "b"):
        ledger.record(closed(name))
    with capture_logs() as logs:
        ledger.start()
        ledger.stop()
    assert logs[-1]["rows"] == 2
    assert value(ledger._lost) == 2


def test_a_deleted_file_is_noticed_and_a_new_one_has_the_same_key(
    path: Path, ledger: Ledger
) -> None:
    for file in path.parent.glob("ledger.db*"):
        file.unlink()
    with capture_logs() as logs:
        assert write(ledger, "late")
    assert names(path) == ["late"]
    assert shared_key(ledger.engine) == KEY
    assert "deleted or replaced" in logs[0]["event"]
    assert value(ledger._lost) == 0


def test_a_file_that_was_moved_away_keeps_its_rows(path: Path, ledger: Ledger) -> None:
    path.rename(path.with_name("old.db"))
    assert write(ledger, "late")
    assert names(path) == ["late"]


def test_a_file_that_was_replaced_by_another_gateway_s_gives_its_key(
    path: Path, ledger: Ledger
) -> None:
    other = ledger_of(path.with_name("other.db"), b"o" * 32)
    write(other, "other")
    other.engine.dispose()
    path.with_name("other.db").rename(path)
    keys: list[bytes] = []
    ledger.on_key = keys.append
    assert write(ledger, "late")
    assert names(path) == ["late", "other"]
    assert keys == [b"o" * 32]


def test_a_deleted_write_ahead_log_loses_no_row(path: Path, ledger: Ledger) -> None:
    write(ledger, "before")
    path.with_name("ledger.db-wal").unlink()
    path.with_name("ledger.db-shm").unlink()
    assert write(ledger, "after")
    assert names(path) == ["after", "before", "early"]


def test_a_file_that_was_emptied_gets_tables_again(path: Path, ledger: Ledger) -> None:
    path.write_bytes(b"")
    path.with_name("ledger.db-wal").write_bytes(b"")
    for _ in range(3):
        written = write(ledger, "late")
    assert written
    assert names(path)[0] == "late"


def test_a_row_that_raises_anything_does_not_end_the_writer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "_open", lambda: {}["missing"])
    ledger.record(closed("late"))
    with capture_logs() as logs:
        assert not ledger._write_and_summarize()
    assert "rows wait in memory" in logs[0]["event"]
    monkeypatch.undo()
    assert ledger._write_and_summarize()


def test_writes_of_one_process_wait_for_each_other(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that wait for SQLite's lock poll it for five seconds, and on busy cores some starve."""

    def store_slowly(*args: Any, **fields: Any) -> None:
        store_request_score(*args, **fields)
        time.sleep(0.1)

    def lock_at_once(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA busy_timeout = 0")

    scored = [f"scored {number}" for number in range(4)]
    write(ledger, *scored)
    event.listen(ledger.engine, "checkout", lock_at_once)
    monkeypatch.setattr("server.ledger.writer.store_request_score", store_slowly)
    with ThreadPoolExecutor(len(scored)) as pool:
        stored = pool.map(lambda name: ledger.score(name, "k", 1.0), scored)
        time.sleep(0.15)
        assert write(ledger, "late")
        assert None not in list(stored)


class Clocks:
    """A wall clock that can be set, and one that cannot."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.booted = 50.0

    def run(self, days: float) -> None:
        self.now += days * DAY
        self.booted += days * DAY

    def retention(self, engine: Engine, days: float = 90.0) -> Retention:
        return Retention(engine, days, lambda: self.now, lambda: self.booted)


def ages(engine: Engine, clocks: Clocks) -> list[int]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT at FROM requests ORDER BY at")).scalars()
        return [round((clocks.now - at) / DAY) for at in rows]


def fill(ledger: Ledger, clocks: Clocks, *days: float) -> None:
    """Replace the rows by rows of these ages."""
    with ledger.engine.begin() as connection:
        connection.execute(requests.delete())
    write(ledger, *map(str, days))
    with ledger.engine.begin() as connection:
        for age in days:
            change = requests.update().where(requests.c.request_id == str(age))
            connection.execute(change.values(at=clocks.now - age * DAY))


def test_rows_expire_where_there_was_traffic(ledger: Ledger) -> None:
    clocks = Clocks()
    fill(ledger, clocks, 0, 8, 89, 91, 200)
    with capture_logs() as logs:
        clocks.retention(ledger.engine).apply()
    assert ages(ledger.engine, clocks) == [89, 8, 0]
    assert (logs[0]["event"], logs[0]["rows"]) == ("the ledger deleted expired rows", 2)


@pytest.mark.parametrize("ahead", [400, 30])
def test_a_gateway_that_starts_with_a_clock_ahead_deletes_nothing(
    ledger: Ledger, ahead: float
) -> None:
    clocks = Clocks()
    fill(ledger, clocks, 1, 30, 89)
    clocks.now += ahead * DAY
    with capture_logs() as logs:
        retention = clocks.retention(ledger.engine)
        retention.apply()
        for _ in range(48):
            clocks.run(1 / 24)
            retention.apply()
    assert len(ages(ledger.engine, clocks)) == 3
    assert 2 <= len(logs) <= 10
    assert all("look expired" in line["event"] for line in logs)


@pytest.mark.parametrize("ahead", [400, 3, -400])
def test_a_clock_that_jumps_while_running_is_noticed_and_deletes_nothing(
    ledger: Ledger, ahead: float
) -> None:
    clocks = Clocks()
    fill(ledger, clocks, 0.1, 1, 10, 30, 60, 88, 89.5)
    retention = clocks.retention(ledger.engine)
    retention.apply()
    clocks.now += ahead * DAY
    clocks.run(1)
    with capture_logs() as logs:
        retention.apply()
    assert logs[0]["event"] == "the clock jumped"
    assert logs[0]["seconds"] == ahead * DAY
    assert len(ages(ledger.engine, clocks)) == 7


def test_rows_expire_once_the_clock_has_run_steadily(ledger: Ledger) -> None:
    clocks = Clocks()
    fill(ledger, clocks, 100, 300)
    retention = clocks.retention(ledger.engine)
    retention.apply()
    clocks.run(7.1)
    retention.apply()
    assert ages(ledger.engine, clocks) == []


def test_rows_of_the_future_are_reported(ledger: Ledger) -> None:
    clocks = Clocks()
    fill(ledger, clocks, 0, -400)
    with capture_logs() as logs:
        clocks.retention(ledger.engine).apply()
    assert "future" in logs[0]["event"]


def test_slow_corrections_of_the_clock_are_no_jump(ledger: Ledger) -> None:
    clocks = Clocks()
    retention = clocks.retention(ledger.engine)
    with capture_logs() as logs:
        for _ in range(100):
            clocks.run(0.01)
            clocks.now += 60
            retention.apply()
    assert not [line for line in logs if "jumped" in line["event"]]
