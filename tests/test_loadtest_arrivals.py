"""Arrivals: due when they should be, and measured from then however slow the server is."""

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
from loadtest.run import run
from loadtest.summary import summarise
from loadtest.workload import Task


def times_of(arrivals: Arrivals, requests: int, seed: int = 0) -> list[float]:
    return schedule(arrivals, requests, seed, [])


def gaps(times: list[float]) -> np.ndarray:
    return np.array([later - earlier for earlier, later in pairwise(times)])


def test_constant_and_bursts_are_exact() -> None:
    assert times_of(Arrivals(kind="constant", rate=4), 4) == [0, 0.25, 0.5, 0.75]
    burst = times_of(Arrivals(kind="burst", rate=10, burst_size=5), 12)
    assert burst == [0] * 5 + [0.5] * 5 + [1.0] * 2


def test_poisson_has_the_rate_and_the_scatter_of_one() -> None:
    found = gaps(times_of(Arrivals(kind="poisson", rate=20), 20_000, 1))
    assert found.mean() == pytest.approx(1 / 20, rel=0.03)
    assert found.std() == pytest.approx(1 / 20, rel=0.05)
    again = Arrivals(kind="poisson", rate=20)
    assert times_of(again, 9, 1) == times_of(again, 9, 1)


def test_a_ramp_gets_from_one_rate_to_the_other() -> None:
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
def test_arrivals_that_lack_something_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Arrivals(**fields)


@pytest.fixture(scope="module")
def slow() -> Generator[str]:
    with misbehaving() as endpoint:
        yield f"{endpoint.url}/slow"


def ran(url: str, arrivals: Arrivals) -> tuple[list[Record], float]:
    """The records of twenty requests, and the seconds they took in all."""
    arm = Arm(name="a", effort="low")
    plan = Plan(url=url, arms=(arm,), arrivals=arrivals, concurrency=1)
    tasks = [Task((Problem(str(n), "2 + 3?", "5"),), arm) for n in range(20)]
    times = None if arrivals.kind == "closed" else times_of(arrivals, 20)
    begun = time.perf_counter()
    return asyncio.run(run(plan, tasks, times)), time.perf_counter() - begun


def test_an_open_loop_does_not_wait_for_answers_and_a_closed_one_does(slow: str) -> None:
    opened, soon = ran(slow, Arrivals(kind="constant", rate=40))
    closed, long = ran(slow, Arrivals())
    assert len(opened) == len(closed) == 20
    assert all(record.error is None for record in (*opened, *closed))
    assert long >= 4.0
    assert soon < long / 2
    assert all(record.start_delay == 0 for record in closed)


@pytest.mark.parametrize(
    "arrivals",
    [
        Arrivals(kind="constant", rate=20),
        Arrivals(kind="poisson", rate=20),
        Arrivals(kind="ramp", rate=10, final_rate=40),
        Arrivals(kind="burst", rate=20, burst_size=5),
    ],
    ids=lambda arrivals: arrivals.kind,
)
def test_requests_reach_the_server_when_they_are_due(slow: str, arrivals: Arrivals) -> None:
    records, _ = ran(slow, arrivals)
    begun = sorted(record.scheduled_at for record in records)
    assert [at - begun[0] for at in begun] == pytest.approx(times_of(arrivals, 20), abs=1e-6)
    assert min(record.start_delay for record in records) >= 0
    assert np.median([record.start_delay for record in records]) < 0.1
    assert all(record.ended == "answer" for record in records)


def test_a_trace_is_replayed_to_a_server(slow: str, tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    file.write_text("".join(f'{{"timestamp": {80 * n}}}\n' for n in range(20)))
    records, _ = ran(slow, Arrivals(kind="trace", file=file, speed=2.0))
    begun = sorted(record.scheduled_at for record in records)
    assert gaps(begun) == pytest.approx(np.full(19, 0.04), abs=1e-6)


def test_times_count_from_when_a_request_was_due(slow: str) -> None:
    """A generator that is held up for half a second is late, and its times say so."""
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
    "blank.jsonl": '\n{"at": 3, "said": "a\u2028b"}\n \n{"at": 3.5, "said": "\u0085"}\n\n',
    "blank.csv": "at,said\n3,a\u2028b\n\n3.5,\u0085\n",
}


@pytest.mark.parametrize("name", TRACES)
def test_a_trace_is_replayed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TRACES[name])
    found = times_of(Arrivals(kind="trace", file=tmp_path / name, speed=2.0), 9)
    assert found == pytest.approx([0, 0.25])


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_times_without_a_zone_are_not_the_machine_s(new_york: None, tmp_path: Path) -> None:
    """There the clocks went forward an hour between these two."""
    file = tmp_path / "azure.csv"
    file.write_text("TIMESTAMP\n2024-03-10 01:59:00.5000000\n2024-03-10 03:01:00.5000000\n")
    assert times_of(Arrivals(kind="trace", file=file), 2) == [0, 62 * 60]


@pytest.mark.parametrize("when", ["NaN", "Infinity", "-Infinity"])
def test_times_that_never_come_are_broken(tmp_path: Path, when: str) -> None:
    for name, text in (("t.jsonl", f'{{"at": {when}}}\n{{"at": 1}}'), ("t.csv", f"at\n{when}\n1")):
        (tmp_path / name).write_text(text)
        with pytest.raises(PlanError, match="1 of 2 lines"):
            times_of(Arrivals(kind="trace", file=tmp_path / name), 2)


def test_a_trace_that_csv_cannot_take_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text(f"at,said\n1,{'a' * 140_000}\n")
    with pytest.raises(PlanError, match=r"t\.csv"):
        times_of(Arrivals(kind="trace", file=file), 2)


def test_broken_lines_of_a_trace_are_counted_and_too_many_refused(tmp_path: Path) -> None:
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
