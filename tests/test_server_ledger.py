"""The ledger on a real SQLite and a real PostgreSQL: nothing lost, nothing private."""

import asyncio
import os
import pwd
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from ledgers import connect
from polling import until
from processes import run_tops, serving
from prometheus_client import Counter
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from server.decide.conversations import Thread
from server.decide.decision import Decision
from server.decide.holdout import Draw, Shares
from server.engines.supervisor import free_port
from server.engines.usage import Usage
from server.ledger import writer
from server.ledger.reader import latest, snapshot
from server.ledger.schema import LedgerDown, LedgerError, metadata, prepare, shared_key
from server.ledger.selection import Selection
from server.ledger.totals import Totals, read_totals
from server.ledger.turns import TurnArchive
from server.ledger.writer import Ledger
from server.lifecycle.record import RequestRecord
from server.savings.query import query
from server.savings.text_report import text_report

DRAW = Draw("treated", None, Shares(0.02), 0.0)


def closed(request_id: str = "r", status: int = 200, budget: int | None = 9) -> RequestRecord:
    decision = Decision("low", "router", budget, "router", "why", None, None, "high", draw=DRAW)
    record = RequestRecord(request_id, decision=decision, model="m", caller="k", status=status)
    record.thread = Thread("c" * 32)
    record.usage = Usage(5, 30, 20)
    record.closed_at = record.opened_at + 0.5
    return record


def counter(name: str) -> Counter:
    return Counter(name, "", registry=None)


def value(counter: Counter) -> float:
    return counter._value.get()


@pytest.fixture(scope="session")
def postgres() -> Generator[str]:
    """The URL of a PostgreSQL server of this session's own."""
    # Debian keeps them off the PATH
    places = [os.environ["PATH"], *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    initdb, ctl = (
        shutil.which(name, path=os.pathsep.join(places)) for name in ("initdb", "pg_ctl")
    )
    if initdb is None or ctl is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not on the PATH")
    as_user: dict[str, int] = {}
    # not below pytest's folder: another run of pytest closes that to other users
    with tempfile.TemporaryDirectory(prefix="tops-postgres-") as name:
        folder = Path(name)
        if os.getuid() == 0:  # which PostgreSQL refuses to run as
            nobody = pwd.getpwnam("nobody")
            as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        data, port = folder / "data", free_port()
        words = [initdb, "-D", data, "-U", "tops", "-A", "trust", "--no-sync"]
        subprocess.run(words, check=True, capture_output=True, cwd=folder, **as_user)
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -F"
        start = [ctl, "-D", data, "-w", "-o", options, "-l", folder / "log", "start"]
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL, cwd=folder, **as_user)
        try:
            yield f"postgresql+psycopg://tops@127.0.0.1:{port}/postgres"
        finally:
            stop = [ctl, "-D", data, "-m", "immediate", "stop"]
            subprocess.run(stop, check=True, capture_output=True, cwd=folder, **as_user)


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Engine]:
    if request.param == "sqlite":
        engine = connect(f"sqlite:///{tmp_path}/ledger.db")
    else:
        engine = connect(request.getfixturevalue("postgres"))
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    prepare(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def ledger(engine: Engine) -> Generator[Ledger]:
    writing = Ledger(engine, counter("written"), counter("lost"), None, prepared=True)
    writing.start()
    yield writing
    writing.stop()


def totals(engine: Engine) -> Totals:
    with snapshot(engine) as connection:
        return read_totals(connection, Selection())


def test_the_migrations_make_the_tables_that_the_code_uses(engine: Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    prepare(engine)
    assert shared_key(engine) == shared_key(engine)


def test_an_older_ledger_is_brought_up_to_date_and_keeps_its_rows(
    engine: Engine, ledger: Ledger
) -> None:
    ledger.record(closed("one"))
    ledger._flush()
    with engine.begin() as connection:
        for column in ("agent", "answer", "response", "conversation"):
            connection.execute(text(f"DROP INDEX ix_requests_{column}"))
        for column in (
            "pinned", "agent", "answer", "kind", "first_answer_seconds", "budget_source",
            "response", "loop_turn", "cached_tokens", "cache_write_tokens", "unsplit_tokens",
        ):  # fmt: skip
            connection.execute(text(f"ALTER TABLE requests DROP COLUMN {column}"))
        connection.execute(text("DROP INDEX ix_requests_holdout"))
        for table in metadata.tables.keys() - {"requests", "secret"}:
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    prepare(engine)
    (row,) = latest(engine, 5)
    assert (row["request_id"], row["pinned"], row["kind"]) == ("one", None, None)


def test_rows_arrive_as_they_were(engine: Engine, ledger: Ledger) -> None:
    ledger.record(closed("one"))
    ledger.record(closed("two", status=499))
    ledger.record(RequestRecord("refused before a decision"))
    ledger._flush()
    _, row = latest(engine, 5)
    assert (row["request_id"], row["arm"], row["p_treated"]) == ("one", "treated", 0.98)
    assert (row["thinking_tokens"], row["answer_tokens"], row["seconds"]) == (20, 10, 0.5)
    assert [row["request_id"] for row in latest(engine, 5)] == ["two", "one"]
    found = totals(engine)
    assert (found.counts(), found.refused(), found.not_comparable()) == ({"treated": 2}, 0, 0)
    assert found.compared().columns["thinking_tokens"].tolist() == [20]
    assert value(ledger._written) == 2


def test_answers_are_found_by_their_hashes(engine: Engine, ledger: Ledger) -> None:
    answers = TurnArchive(engine)
    assert asyncio.run(answers.find("answer", [-5])) == []
    for number, stored in enumerate((-5, -5, 2**62)):
        record = closed(f"r{number}")
        record.answer, record.thread = stored, Thread(f"{number:032x}")
        assert record.decision is not None
        record.decision = record.decision._replace(routed="low" if number else None)
        ledger.record(record)
    ledger._flush()
    rows = asyncio.run(answers.find("answer", [-5, 3]))
    assert rows == [(-5, f"{1:032x}", "low"), (-5, f"{0:032x}", None)]
    agent = bytes(7) + b"\5" * 9
    record = closed("named")
    record.thread = Thread(f"{9:032x}", "x-session-id", None, agent)
    assert record.decision is not None
    record.decision = record.decision._replace(routed="high")
    ledger.record(record)
    ledger._flush()
    assert asyncio.run(answers.find("agent", [5])) == [(5, f"{9:032x}", "high")]
    assert asyncio.run(answers.find("agent", [6])) == []


def test_answers_of_a_ledger_that_is_down_are_not_awaited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = TurnArchive(connect(f"sqlite:///{tmp_path}/no/such/folder/ledger.db"))
    assert asyncio.run(answers.find("answer", [-5])) is None
    monkeypatch.setattr(answers, "_select", lambda *_: pytest.fail("asked again at once"))
    assert asyncio.run(answers.find("answer", [-5])) is None


def test_refused_requests_are_no_traffic_of_an_arm(engine: Engine, ledger: Ledger) -> None:
    for status in (200, 400, 404, 422, 429, 498, 499, 500, 503):
        ledger.record(closed(str(status), status))
    ledger._flush()
    found = totals(engine)
    assert (found.counts(), found.refused()) == ({"treated": 4}, 5)
    assert found.accepted().columns["requests"].sum() == 4
    assert len(latest(engine, 9)) == 9
    url = engine.url.render_as_string(hide_password=False)
    text = text_report(query(url, Selection(), None, {}))
    assert text.startswith("requests: 4 treated\n5 more were refused (HTTP 400 to 498)")


def test_feedback_is_noted_on_the_newest_of_its_key_and_replaced(
    engine: Engine, ledger: Ledger
) -> None:
    for _ in range(2):
        ledger.record(closed("twice"))
    assert ledger.score("twice", "k", 1.0)
    assert ledger.score("twice", "k", 0.0)
    assert not ledger.score("twice", "someone else", 1.0)
    assert not ledger.score("unknown", "k", 1.0)
    assert [row["score"] for row in latest(engine, 5)] == [0.0, None]


def test_a_row_that_the_database_does_not_take_does_not_hold_up_the_others(
    engine: Engine, ledger: Ledger
) -> None:
    spoiled = closed("spoiled")
    spoiled.usage = Usage(5, 10**30, 10**30)
    ledger.record(closed("good"))
    ledger.record(spoiled)
    ledger.record(closed("huge budget", budget=10**30))
    ledger._flush()
    assert {row["request_id"] for row in latest(engine, 5)} == {"good", "huge budget"}
    assert value(ledger._lost) == 1


def test_a_row_is_written_once_where_the_database_goes_away_after_a_spoiled_one(
    engine: Engine, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a batch, which no real database does on command."""
    insert, left = ledger._insert, 3

    def inserted(rows: list[dict[str, Any]]) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise OperationalError("insert", None, Exception("gone away"))
        insert(rows)

    monkeypatch.setattr(ledger, "_insert", inserted)
    spoiled = closed("spoiled")
    spoiled.usage = Usage(5, 10**30, 10**30)
    last = closed("last")
    last.choices = 10**30
    for one in (closed("first"), closed("second"), spoiled, last):
        ledger.record(one)
    until(lambda: value(ledger._written) >= 3)
    assert sorted(row["request_id"] for row in latest(engine, 9)) == ["first", "last", "second"]
    assert value(ledger._lost) == 1


def test_old_rows_are_deleted(engine: Engine) -> None:
    ledger = Ledger(engine, counter("w"), counter("l"), days=1.0, prepared=True)
    ledger.record(closed("old"))
    ledger._write_all()
    with engine.begin() as connection:
        connection.execute(text("UPDATE requests SET at = at - 86500"))
    ledger.record(closed("new"))
    ledger._write_all()
    assert ledger._retention is not None
    ledger._retention.apply()
    assert [row["request_id"] for row in latest(engine, 5)] == ["new"]


def test_a_ledger_that_is_down_keeps_rows_up_to_a_bound_and_counts_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_MAX_PENDING_ROWS", 10)
    folder = tmp_path / "not there yet"
    engine = connect(f"sqlite:///{folder}/ledger.db")
    ledger = Ledger(engine, counter("w"), counter("l"), None, prepared=False)
    for number in range(15):
        ledger.record(closed(f"r{number}"))
    assert not ledger._write_all()
    assert value(ledger._lost) == 5
    with pytest.raises(LedgerDown):
        ledger.score("r14", "k", 1.0)
    folder.mkdir()
    assert ledger._write_all()
    assert [row["request_id"] for row in latest(engine, 99)] == [f"r{n}" for n in range(14, 4, -1)]


def test_a_full_disk_loses_nothing_that_fits_later(tmp_path: Path) -> None:
    """The database's own limit of pages stands in for a full disk: the same error of SQLite."""
    engine = connect(f"sqlite:///{tmp_path}/ledger.db")
    prepare(engine)
    with engine.connect() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
    ledger = Ledger(engine, counter("w"), counter("l"), None, prepared=True)
    with engine.connect() as connection:  # the pool hands this very connection out again
        connection.execute(text(f"PRAGMA max_page_count = {pages + 1}"))
    for number in range(500):
        ledger.record(closed(f"r{number}"))
    assert not ledger._write_all()
    with engine.connect() as connection:
        connection.execute(text("PRAGMA max_page_count = 1000000"))
    assert ledger._write_all()
    assert len(latest(engine, 1000)) == 500
    assert value(ledger._lost) == 0


def test_what_can_never_work_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="sqlite:///FILE"):
        connect("ledger.db")
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"these are not the pages of a database " * 200)
    with pytest.raises(LedgerError, match="move it away"):
        prepare(connect(f"sqlite:///{garbage}"))
    newer = connect(f"sqlite:///{tmp_path}/newer.db")
    prepare(newer)
    with newer.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerError, match="newer version"):
        prepare(newer)
    with pytest.raises(LedgerDown, match="cannot be opened"):
        prepare(connect(f"sqlite:///{tmp_path}/no/such/folder/ledger.db"))


def test_two_ledgers_write_one_file_and_share_the_key(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    engines = [connect(url), connect(url)]
    ledgers: list[Ledger] = []
    for engine in engines:
        prepare(engine)
        ledgers.append(Ledger(engine, counter("w"), counter("l"), None, prepared=True))
        ledgers[-1].start()
    assert shared_key(engines[0]) == shared_key(engines[1])

    def fill(ledger: Ledger) -> None:
        for number in range(500):
            ledger.record(closed(f"{id(ledger)}-{number}"))
            time.sleep(0.001)

    threads = [threading.Thread(target=fill, args=(ledger,)) for ledger in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ledger in ledgers:
        ledger.stop()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        assert connection.execute("SELECT count(*) FROM requests").fetchone() == (1000,)
    assert sum(value(ledger._lost) for ledger in ledgers) == 0


def ask(http: httpx.Client, url: str, number: int) -> str:
    answer = http.post(
        f"{url}/v1/chat/completions",
        json={"messages": [{"role": "user", "content": f"Kim has {number} pens. How many?"}]},
    )
    assert answer.status_code == 200
    return answer.headers["x-request-id"]


def test_kill_9_loses_at_most_the_last_second(tmp_path: Path, http: httpx.Client) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with serving("--ledger", url) as server:
        reader = connect(url)
        scored = [ask(http, server.url, number) for number in range(10)]
        until(lambda: len(latest(reader, 99)) == 10)
        for number in range(3):
            ask(http, server.url, number)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    prepare(reader)
    stored = {row["request_id"] for row in latest(reader, 99)}
    reader.dispose()
    assert set(scored) <= stored
    assert len(stored) <= 13


def test_a_gateway_with_holdout_ledger_and_feedback(tmp_path: Path, http: httpx.Client) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with serving("--ledger", url, "--holdout-share", "0.5") as server:
        ids = [ask(http, server.url, number) for number in range(20)]
        for request_id in ids[:5]:
            noted = http.post(
                f"{server.url}/v1/feedback", json={"request_id": request_id, "correct": True}
            )
            assert noted.json() == {"request_id": request_id, "score": 1.0}
        http.post(f"{server.url}/v1/feedback", json={"request_id": ids[0], "correct": True})
        metrics = http.get(f"{server.url}/metrics").text
        counted = re.findall(r"^tops_feedback_total\{.*\} (\S+)$", metrics, re.MULTILINE)
        assert sum(map(float, counted)) == 5
        refused = {
            "{}": 400,
            '{"request_id": "x", "correct": 1}': 400,
            '{"request_id": "x", "score": 2}': 400,
            '{"request_id": "x", "score": NaN}': 400,
            '{"request_id": "x", "score": 1, "correct": true}': 400,
            '{"request_id": "x", "right": true}': 400,
            '{"request_id": 7, "correct": true}': 400,
            '{"request_id": "nobody", "correct": true}': 404,
        }
        for body, status in refused.items():
            answer = http.post(f"{server.url}/v1/feedback", content=body)
            assert (answer.status_code, "message" in answer.json()["error"]) == (status, True), body
    process = run_tops("savings", "--ledger", url)
    assert "pending" in process.stdout
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        rows = connection.execute("SELECT arm, count(*), sum(score) FROM requests GROUP BY arm")
        arms = {arm: (number, score) for arm, number, score in rows}
        text_of_all = " ".join(map(str, connection.execute("SELECT * FROM requests")))
    assert sum(number for number, _ in arms.values()) == 20
    assert set(arms) == {"treated", "holdout"}
    assert sum(score or 0 for _, score in arms.values()) == 5
    assert "pens" not in text_of_all


def test_without_a_ledger_feedback_is_refused(gateway: str, http: httpx.Client) -> None:
    answer = http.post(f"{gateway}/v1/feedback", json={"request_id": "x", "correct": True})
    assert answer.status_code == 503
    assert "ledger" in answer.json()["error"]["message"]


@pytest.mark.parametrize("ledger", ["nonsense", "sqlite:///{}/damaged.db", "sqlite:///{}"])
def test_a_ledger_that_can_never_work_stops_the_start(ledger: str, tmp_path: Path) -> None:
    (tmp_path / "damaged.db").write_bytes(b"no database " * 999)
    process = run_tops("serve", "--port", "0", "--ledger", ledger.format(tmp_path))
    assert process.returncode == 2
    printed = [line for line in process.stderr.splitlines() if not line.startswith("{")]  # no log
    assert len(printed) == 1
    assert printed[0].startswith("Error: ")
