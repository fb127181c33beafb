"""`tops ledger`: what it has, a Parquet file of it, and what is too old, on both databases."""

import json
import sys
import threading
import time
from pathlib import Path

import pytest
from pyarrow import parquet
from sqlalchemy import Engine, func, insert, select
from test_server_ledger import closed, counter, engine, postgres
from test_server_savings_report import simulated

from server.ledger.reader import latest
from server.ledger.tables import requests
from server.ledger.writer import Ledger
from tops import main

__all__ = ["engine", "postgres"]

DAY = 86_400.0


@pytest.fixture
def url(engine: Engine) -> str:
    """A ledger of 300 requests, one an hour, the newest of now."""
    rows = [
        {**row, "at": time.time() - 3_600 * place}
        for place, row in enumerate(reversed(simulated(300)))
    ]
    rows.reverse()
    with engine.begin() as connection:
        connection.execute(insert(requests), rows)
    return engine.url.render_as_string(hide_password=False)


def test_info_tells_what_there_is(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "info", "--ledger", url, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["requests"], found["scored"]) == (300, 300)
    assert found["bytes"] > 10_000
    assert main(["ledger", "info", "--ledger", url]) == 0
    assert "requests           300\n" in capsys.readouterr().out


def test_migrate_makes_the_tables_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    for _ in range(2):
        assert main(["ledger", "migrate", "--ledger", url]) == 0
    assert main(["ledger", "info", "--ledger", url]) == 0
    assert "requests           0\n" in capsys.readouterr().out
    assert main(["ledger", "migrate", "--ledger", "sqlite:////no/such/folder/l.db"]) == 1
    assert "cannot be opened" in capsys.readouterr().err


def test_exported_requests_are_those_of_the_ledger(
    url: str, engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "requests.parquet"
    words = ["ledger", "export", str(file), "--ledger", url, "--since", "2d"]
    assert main([*words, "--key", "k"]) == 0
    table = parquet.read_table(file)
    expected = [row for row in latest(engine, 48) if row["key"] == "k"]
    assert table.column_names == [column.name for column in requests.c]
    assert table["request_id"].to_pylist() == [row["request_id"] for row in reversed(expected)]
    assert json.loads(table["p_correct"][0].as_py()) == expected[-1]["p_correct"]
    assert f"{len(expected)} requests in " in capsys.readouterr().out
    assert [path.name for path in tmp_path.glob("*.parquet*")] == [file.name]


def test_without_the_library_export_says_what_to_install(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["ledger", "export", str(tmp_path / "x.parquet"), "--ledger", url]) == 1
    assert "pip install 'tops-server[parquet]'" in capsys.readouterr().err
    assert not list(tmp_path.glob("x.parquet*"))


def test_an_export_is_a_parquet_file_by_its_name(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", "export", str(tmp_path / "x.csv"), "--ledger", url]) == 2
    assert f"name it {tmp_path / 'x.parquet'}" in capsys.readouterr().err


def test_prune_deletes_while_a_gateway_writes(
    url: str, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(engine, counter("w"), counter("l"), None, prepared=True)
    ledger.start()
    pruned = threading.Event()

    def write() -> None:
        number = 0
        while not pruned.is_set() or number < 200:
            ledger.record(closed(f"new-{number}"))
            number += 1
            pruned.wait(0.001)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        assert main(["ledger", "prune", "--ledger", url, "--before", "5d", "--yes"]) == 0
    finally:
        pruned.set()
        writing.join()
        ledger.stop()
    assert "180 requests deleted" in capsys.readouterr().out
    with engine.connect() as connection:
        query = select(func.min(requests.c.at), func.count()).select_from(requests)
        oldest, number = connection.execute(query).one()
    assert oldest > time.time() - 5 * DAY - 60
    assert number == 120 + ledger._written._value.get()
    assert ledger._lost._value.get() == 0


def test_prune_asks_first(url: str, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "prune", "--ledger", url, "--before", "5d"]) != 0
    assert len(latest(engine, 999)) == 300
    assert main(["ledger", "prune", "--ledger", url, "--before", "5 days"]) == 2
    assert "--before takes 7d" in capsys.readouterr().err
    assert main(["ledger", "info", "--ledger", "sqlite:////no/such/ledger.db"]) == 1
