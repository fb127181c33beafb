"""Arrival times, and latencies that count from them however slow the server is."""

import asyncio
import json
import time
from collections.abc import Generator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from endpoint import misbehaving
from pydantic import ValidationError

from loadtest.arrivals import schedule
from loadtest.plan import Arm, Arrivals, Plan, PlanError
from loadtest.problem import Problem
from loadtest.record import Record
from loadtest.summary import summarise
from loadtest.task_runner import run
from loadtest.workload import Task


def times_of(arrivals: Arrivals, requests: int, seed: int = 0) -> list[float]:
    return schedule(arrivals, requests, seed, [])


def gaps(times: list[float]) -> np.ndarray:
    return np.array([later - earlier for earlier, later in pairwise(times)])


def test_constant_and_bursts_are_exact() -> None:
    assert times_of(Arrivals(kind="constant", rate=4), 4) == [0, 0.25, 0.5, 0.75]
    burst = times_of(Arrivals(kind="burst", rate=10, burst_size=5), 12)
    assert burst == [0] * 5 + [0.5] * 5 + [1.0] * 2


def test_poisson_has_its_rate_and_standard_deviation() -> None:
    times = gaps(times_of(Arrivals(kind="poisson", rate=20), 20_000, 1))
    assert times.mean() == pytest.approx(1 / 20, rel=0.03)
    assert times.std() == pytest.approx(1 / 20, rel=0.05)
    arrivals = Arrivals(kind="poisson", rate=20)
    assert times_of(arrivals, 9, 1) == times_of(arrivals, 9, 1)


def test_a_ramp_rises_linearly_in_time() -> None:
    times = np.array(times_of(Arrivals(kind="ramp", rate=5, final_rate=50), 20_000, 2))
    assert times[-1] == pytest.approx(20_000 / 27.5, rel=0.03)
    counts, edges = np.histogram(times, bins=10)
    rates = counts / np.diff(edges)
    assert rates == pytest.approx(np.linspace(7.25, 47.75, 10), rel=0.1)  # evenly in time


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "poisson"},
        {"kind": "ramp", "rate": 1},
        {"kind": "burst", "rate": 1, "final_rate": 2},
        {"kind": "trace"},
        {"kind": "closed", "rate": 1},
    ],
)
def test_incomplete_arrivals_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Arrivals(**fields)


@pytest.fixture(scope="module")
def slow() -> Generator[str]:
    with misbehaving() as endpoint:
        yield f"{endpoint.url}/slow"


def send(url: str, arrivals: Arrivals, n: int = 20) -> tuple[list[Record], float]:
    """The records of `n` requests, and the duration of their run in seconds."""
    arm = Arm(name="a", effort="low")
    plan = Plan(url=url, arms=(arm,), arrivals=arrivals, concurrency=1)
    tasks = [Task((Problem(str(i), "2 + 3?", "5"),), arm) for i in range(n)]
    times = None if arrivals.kind == "closed" else times_of(arrivals, n)
    started = time.perf_counter()
    return asyncio.run(run(plan, tasks, times)), time.perf_counter() - started


@pytest.mark.slow
def test_a_closed_loop_waits_for_answers_and_an_open_loop_does_not(slow: str) -> None:
    open_loop, open_seconds = send(slow, Arrivals(kind="constant", rate=40), 8)
    closed_loop, closed_seconds = send(slow, Arrivals(), 8)
    assert len(open_loop) == len(closed_loop) == 8
    assert all(record.error is None for record in (*open_loop, *closed_loop))
    assert closed_seconds >= 8 * 0.2
    assert open_seconds < closed_seconds
    assert all(record.start_delay == 0 for record in closed_loop)


@pytest.mark.parametrize(
    "arrivals",
    [
        Arrivals(kind="constant", rate=50),
        Arrivals(kind="poisson", rate=50),
        Arrivals(kind="ramp", rate=20, final_rate=80),
        Arrivals(kind="burst", rate=50, burst_size=5),
    ],
    ids=lambda arrivals: arrivals.kind,
)
def test_requests_are_sent_at_their_scheduled_times(slow: str, arrivals: Arrivals) -> None:
    records, _ = send(slow, arrivals)
    scheduled = sorted(record.scheduled_at for record in records)
    assert [at - scheduled[0] for at in scheduled] == pytest.approx(
        times_of(arrivals, 20), abs=1e-6
    )
    assert min(record.start_delay for record in records) >= 0
    # A busy machine delays most of them; a generator that does not look at the schedule, all.
    assert min(abs(record.start_delay) for record in records) < 0.25
    assert all(record.ended == "answer" for record in records)


@pytest.mark.slow
def test_a_trace_is_replayed_against_a_server(slow: str, tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    file.write_text("".join(f'{{"timestamp": {80 * n}}}\n' for n in range(20)))
    records, _ = send(slow, Arrivals(kind="trace", file=file, speed=2.0))
    scheduled = sorted(record.scheduled_at for record in records)
    assert gaps(scheduled) == pytest.approx(np.full(19, 0.04), abs=1e-6)


def test_latencies_count_from_the_scheduled_time(slow: str) -> None:
    """A load generator that starts half a second late includes that in its latencies."""
    arm = Arm(name="a", effort="low")
    tasks = [Task((Problem(str(n), "2 + 3?", "5"),), arm) for n in range(20)]
    records = asyncio.run(run(Plan(url=slow, arms=(arm,)), tasks, [-0.5] * 20))
    assert min(record.start_delay for record in records) >= 0.5
    assert min(record.latency for record in records) >= 0.7
    assert summarise(records, "a")["start_delay_ms"]["p50"].value >= 500


TRACES = {
    "mooncake.jsonl": '{"timestamp": 27000, "input_length": 6}\n{"timestamp": 27500}\n',
    "azure.csv": "TIMESTAMP,ContextTokens\n2023-11-16 18:15:46.68,374\n2023-11-16 18:15:47.18,3\n",
    "ours.csv": "arm,at\na,3.5\na,3.0\n",
    "ours.jsonl": '{"at": 3}\n{"at": 3.5}\n',
    "blank.jsonl": '\n{"at": 3, "text": "a\u2028b"}\n \n{"at": 3.5, "text": "\u0085"}\n\n',
    "blank.csv": "at,text\n3,a\u2028b\n\n3.5,\u0085\n",
}


@pytest.mark.parametrize("name", TRACES)
def test_a_trace_is_read_in_every_format(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TRACES[name])
    times = times_of(Arrivals(kind="trace", file=tmp_path / name, speed=2.0), 9)
    assert times == pytest.approx([0, 0.25])


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_times_without_a_zone_are_utc(new_york: None, tmp_path: Path) -> None:
    """In New York, the clocks went forward an hour between these two times."""
    file = tmp_path / "azure.csv"
    file.write_text("TIMESTAMP\n2024-03-10 01:59:00.5000000\n2024-03-10 03:01:00.5000000\n")
    assert times_of(Arrivals(kind="trace", file=file), 2) == [0, 62 * 60]


@pytest.mark.parametrize("when", ["NaN", "Infinity", "-Infinity"])
def test_infinite_times_are_broken_lines(tmp_path: Path, when: str) -> None:
    for name, text in (("t.jsonl", f'{{"at": {when}}}\n{{"at": 1}}'), ("t.csv", f"at\n{when}\n1")):
        (tmp_path / name).write_text(text)
        with pytest.raises(PlanError, match="1 of 2 lines"):
            times_of(Arrivals(kind="trace", file=tmp_path / name), 2)


def test_a_trace_beyond_csv_s_limits_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text(f"at,text\n1,{'a' * 140_000}\n")
    with pytest.raises(PlanError, match=r"t\.csv"):
        times_of(Arrivals(kind="trace", file=file), 2)


def test_broken_lines_of_a_trace_are_counted_and_too_many_are_refused(tmp_path: Path) -> None:
    file, notes = tmp_path / "t.jsonl", list[str]()
    lines = [json.dumps({"at": second}) for second in range(200)]
    file.write_text("\n".join([*lines, "{", '{"at": "noon"}']))
    assert len(schedule(Arrivals(kind="trace", file=file), 300, 0, notes)) == 200
    assert notes == [
        "trace: 2 broken lines omitted",
        "trace: 200 arrivals for 300 conversations",
    ]
    file.write_text("\n".join([*lines[:20], "{"]))
    with pytest.raises(PlanError, match="1 of 21 lines"):
        times_of(Arrivals(kind="trace", file=file), 300)
    with pytest.raises(PlanError, match="absent"):
        times_of(Arrivals(kind="trace", file=tmp_path / "absent"), 3)
