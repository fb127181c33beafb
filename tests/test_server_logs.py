"""Log lines are JSON, whatever values they have; what cannot be written is lost and counted."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import structlog
from paths import ROOT
from polling import until
from scripted_engine import ScriptedEngine

from server.observe.backoff import Backoff
from server.observe.log_stream import LogStream
from server.observe.logs import configure_logs

LINE = b'{"event":"a line of usual length"}\n'


def test_a_line_is_json_for_any_value(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    configure_logs("info")
    try:
        log = structlog.get_logger("test")
        log.info("plain", tokens=3, path=ValueError("odd"))
        log.info("large", tokens=2**80)
        log.info("broken", text="\ud800")
        print("warning: ü \ud800", file=sys.stderr)
    finally:
        structlog.reset_defaults()
    written = capfd.readouterr().err.splitlines()
    lines = [json.loads(line) for line in written[:3]]
    assert [line["event"] for line in lines] == ["plain", "large", "broken"]
    assert (lines[0]["tokens"], lines[1]["tokens"], lines[2]["text"]) == (3, 2**80, "\ud800")
    assert all(line["level"] == "info" and line["timestamp"].endswith("Z") for line in lines)
    assert written[3:] == ["warning: ü \\ud800"]


@contextmanager
def descriptor(path: str) -> Generator[int]:
    number = os.open(path, os.O_WRONLY)
    try:
        yield number
    finally:
        os.close(number)


def test_lines_that_a_full_disk_refuses_are_counted_and_reported_later(tmp_path: Path) -> None:
    counts: list[int] = []
    with descriptor("/dev/full") as full:
        stream = LogStream(full)
        assert stream.write(LINE) == len(LINE)
        stream.count_losses(counts.append)
        assert stream.write(2 * LINE) == 2 * len(LINE)
        assert (stream.lost_lines, counts) == (3, [1, 2])
        with (tmp_path / "log").open("wb") as file:
            os.dup2(file.fileno(), full)  # the disk has room again
        stream.write(LINE)
    report, line = (tmp_path / "log").read_bytes().splitlines(keepends=True)
    assert (json.loads(report)["lines"], line) == (3, LINE)
    assert stream.lost_lines == 3


def test_a_reader_that_died_loses_lines() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = LogStream(writer)
    stream.write(LINE)
    os.close(writer)
    stream.write(LINE)
    assert stream.lost_lines == 2


def test_a_reader_that_reads_nothing_stops_nobody_and_gets_the_lines_later() -> None:
    reader, writer = os.pipe()
    stream = LogStream(writer)
    long = b"x" * 9_999 + b"\n"
    begun = time.monotonic()
    for _ in range(200):
        stream.write(long)
    assert time.monotonic() - begun < 60
    assert 0 < stream.lost_lines < 110
    with os.fdopen(reader, "rb") as lines:
        for _ in range(200 - stream.lost_lines):
            assert lines.readline() == long
        until(lambda: not stream._waiting)
        stream.write(LINE)
        assert json.loads(lines.readline())["lines"] == stream.lost_lines
        assert lines.readline() == LINE
    os.close(writer)


@pytest.mark.parametrize("closed", [[2], [0, 1, 2]])
def test_a_closed_stream_s_number_goes_to_no_other_file(closed: list[int]) -> None:
    program = (
        "import os, sys\n"
        f"for number in {closed}: os.close(number)\n"
        "sys.stderr = None\n"
        "import tops\n"
        "status = tops.main(['key', 'a b'])\n"
        "sys.exit(status if os.open('/', 0) > 2 else 9)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 2


def test_a_log_that_cannot_be_written_loses_lines_and_nothing_else() -> None:
    engine = ScriptedEngine()
    with Path("/dev/full").open("w") as full:
        upstream = f"http://127.0.0.1:{engine.port}"
        words = ["serve", "--port", "0", "--ledger", "", "--upstream", upstream]
        process = subprocess.Popen(
            [sys.executable, "-m", "tops", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=full
        )
        assert process.stdout is not None
        try:
            url = process.stdout.readline().decode().removeprefix("ready: ").strip()
            for _ in range(3):
                refused = httpx.post(f"{url}/chat/completions", json={"messages": 5})
                assert refused.status_code == 400
            metrics = httpx.get(url.replace("/v1", "/metrics")).text
            assert 'status="400"} 3.0' in metrics
            lost = metrics.partition("\ntops_log_lines_lost_total ")[2]
            assert float(lost.split()[0]) >= 4  # three requests, and the engine that is up
            ready = url.replace("/v1", "/ready")
            assert httpx.get(ready).status_code == 200
            engine.stop()
            until(lambda: httpx.get(ready).status_code == 503)
        finally:
            engine.stop()
            process.terminate()
            assert process.wait() == 0
            process.stdout.close()


def test_backoff_repeats_at_intervals_that_double_up_to_a_bound() -> None:
    seconds = iter(range(200))
    backoff = Backoff(3.0, 10.0, 40.0, lambda: next(seconds))
    assert [second for second in range(199) if backoff.due()] == [3, 13, 33, 73, 113, 153, 193]
    backoff.reset()
    assert not backoff.due()
