"""A gateway whose clock jumps while it runs (libfaketime): requests, rows and reports go on."""

import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from polling import until
from processes import serving
from scripted_engine import ask, scripted_engine

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or not LIBRARIES, reason="libfaketime is not installed"
    ),
]

JUMPS = ("+400d", "+0", "-400d", "@1970-01-02 00:00:00", "+0")


def rows_of(file: Path) -> int:
    with closing(sqlite3.connect(file)) as ledger:
        return ledger.execute("SELECT count(*) FROM requests").fetchone()[0]


def test_requests_and_rows_survive_a_clock_that_jumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, file = tmp_path / "clock", tmp_path / "ledger.db"
    clock.write_text("+0")
    monkeypatch.setenv("LD_PRELOAD", str(LIBRARIES[0]))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(clock))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    with scripted_engine() as engine:
        flags = ("--upstream", f"http://127.0.0.1:{engine.port}", "--ledger", f"sqlite:///{file}")
        flags += ("--ledger-retention-days", "90")
        with serving(*flags) as server:
            for number, jump in enumerate(("+0", *JUMPS), 1):
                clock.write_text(jump)
                started = time.monotonic()
                assert ask(server, "complete").status_code == 200
                assert time.monotonic() - started < 30  # no time-out waits for the clock
                until(lambda rows=number: rows_of(file) == rows)
                assert httpx.get(f"{server.url}/dashboard/data", timeout=60).status_code == 200
            jumps = [line for line in server.lines if "the clock jumped" in line]
            assert len(jumps) == len(JUMPS)
            metrics = httpx.get(f"{server.url}/metrics").text
            assert "tops_ledger_lost_total 0.0" in metrics
        clock.write_text("+400d")  # a gateway that starts with it deletes nothing
        with serving(*flags) as restarted:
            assert restarted.logged("keeps rows that look expired")
            assert rows_of(file) == 1 + len(JUMPS)
    assert not any("Traceback" in line for line in (*server.lines, *restarted.lines))
