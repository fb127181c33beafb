"""Arrivals: due when they should be, and measured from then however slow the server is."""

import asyncio
import time
from collections.abc import Generator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from endpoint import misbehaving
from pydantic import ValidationError

from loadtest.arrivals import due
from loadtest.client import Record
from loadtest.plan import Arm, Arrivals, Plan
from loadtest.report import summarise
from loadtest.run import run
from loadtest.workload import Problem, Task


def gaps(times: list[float]) -> np.ndarray:
    return np.array([later - earlier for earlier, later in pairwise(times)])


def test_constant_and_bursts_are_exact() -> None:
    assert due(Arrivals(kind="constant", rate=4), 4, 0) == [0, 0.25, 0.5, 0.75]
    burst = due(Arrivals(kind="burst", rate=10, size=5), 12, 0)
    assert burst == [0] * 5 + [0.5] * 5 + [1.0] * 2


def test_poisson_has_the_rate_and_the_scatter_of_one() -> None:
    found = gaps(due(Arrivals(kind="poisson", rate=20), 20_000, 1))
    assert found.mean() == pytest.approx(1 / 20, rel=0.03)
    assert found.std() == pytest.approx(1 / 20, rel=0.05)
    assert due(Arrivals(kind="poisson", rate=20), 9, 1) == due(
        Arrivals(kind="poisson", rate=20), 9, 1
    )


def test_a_ramp_gets_from_one_rate_to_the_other() -> None:
    found = gaps(due(Arrivals(kind="ramp", rate=5, to=50), 20_000, 2))
    assert found[:2000].mean() == pytest.approx(1 / 7.25, rel=0.1)
    assert found[-2000:].mean() == pytest.approx(1 / 47.75, rel=0.1)


@pytest.mark.parametrize(
    "fields",
    [{"kind": "poisson"}, {"kind": "ramp", "rate": 1}, {"kind": "burst", "rate": 1, "to": 2}],
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
    tasks = [Task(Problem(str(n), "2 + 3?", "5"), arm, None) for n in range(20)]
    begun = time.perf_counter()
    return asyncio.run(run(plan, tasks)), time.perf_counter() - begun


def test_an_open_loop_does_not_wait_for_answers_and_a_closed_one_does(slow: str) -> None:
    opened, soon = ran(slow, Arrivals(kind="constant", rate=40))
    closed, long = ran(slow, Arrivals())
    assert len(opened) == len(closed) == 20
    assert all(record.error is None for record in (*opened, *closed))
    assert long >= 4.0
    assert soon < long / 2
    assert all(record.late == 0 for record in closed)


def test_times_count_from_when_a_request_was_due(
    slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator that is held up for half a second is late, and its times say so."""

    def held_up(arrivals: Arrivals, requests: int, seed: int) -> list[float]:
        time.sleep(0.5)
        return due(arrivals, requests, seed)

    monkeypatch.setattr("loadtest.run.due", held_up)
    records, _ = ran(slow, Arrivals(kind="burst", rate=1000, size=20))
    assert min(record.late for record in records) >= 0.5
    assert min(record.latency for record in records) >= 0.7
    assert summarise(records, "a")["late_ms"][0] >= 500
