"""The tracker: each request is closed once, and the load that the open ones are to the engine."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_server_record import decision_with

from server.engines.usage import Usage, read_usage
from server.errors import EngineDown, Stopping
from server.http.disconnect import ClientDisconnected
from server.lifecycle.in_flight_table import InFlightTable, create_in_flight_table
from server.lifecycle.record import RequestRecord
from server.lifecycle.tracker import CLIENT_CLOSED_REQUEST, RequestTracker
from server.observe.metrics import Metrics


class Clock:
    """A `time.perf_counter` that the test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


def stream_with_wait(
    tracker: RequestTracker, clock: Clock, seconds: float, status: int = 200
) -> None:
    """A stream whose first byte comes so many seconds after it was forwarded."""
    with tracker.open("id") as record:
        record.status, record.stream = status, True
        clock.seconds += 3.0  # read and decided, which is no wait for the engine
        record.forwarded_at = clock.seconds
        record.first_byte_at = clock.seconds + seconds
        clock.seconds = record.first_byte_at


DEAD = os.getpid() + 1


def table_of(file: Path, pid: int) -> InFlightTable:
    """The table of a worker, of two that have two API keys."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getpid", lambda: pid)
        return InFlightTable(file, 2, lambda pid: pid != DEAD)


def test_load_counts_the_requests_in_flight_on_all_workers(tmp_path: Path) -> None:
    file, dead = create_in_flight_table(tmp_path, 2, 2), DEAD

    def worker(pid: int) -> RequestTracker:
        return RequestTracker(Metrics(), in_flight=table_of(file, pid))

    first, second = worker(os.getpid()), worker(dead)
    with first.open("a"), second.open("b"), second.open("c"):
        assert first.load().in_flight == second.load().in_flight == 3
        third = worker(os.getpid() + 2)  # in the place of the dead one
        with third.open("d"):
            assert first.load().in_flight == third.load().in_flight == 2


def test_a_key_has_no_more_in_flight_than_its_limit_on_all_workers(tmp_path: Path) -> None:
    file = create_in_flight_table(tmp_path, 2, 2)
    tables = [table_of(file, pid) for pid in (os.getpid(), DEAD)]
    first, second = (table.of_key(1) for table in tables)
    assert [count.take(3) for count in (first, second, second, first, second)] == [
        *(True, True, True),
        *(False, False),
    ]
    assert tables[0].of_key(0).take(1)
    first.release()
    assert second.take(3)
    third = table_of(file, os.getpid() + 2)  # in the place of the dead one, which had three
    assert [third.of_key(1).take(2) for _ in range(3)] == [True, True, False]
    assert third.total() == 0


def test_workers_share_the_mean_wait(clock: Clock, tmp_path: Path) -> None:
    file = create_in_flight_table(tmp_path, 2, 0)
    first, second = (RequestTracker(Metrics(), in_flight=InFlightTable(file, 0)) for _ in range(2))
    stream_with_wait(first, clock, 8.0)
    assert second.load().wait_seconds == pytest.approx(1.0)
    stream_with_wait(second, clock, 8.0)
    assert first.load().wait_seconds == second.load().wait_seconds > 1.0


def test_the_mean_wait_weighs_the_newest_stream_by_an_eighth(clock: Clock) -> None:
    tracker = RequestTracker(Metrics())
    assert tracker.load().wait_seconds == 0.0
    stream_with_wait(tracker, clock, 8.0)
    assert tracker.load().wait_seconds == pytest.approx(1.0)
    with tracker.open("id") as record:  # at the same moment, so that nothing has faded
        record.stream = True
        record.forwarded_at, record.first_byte_at = clock.seconds - 9.0, clock.seconds
    assert tracker.load().wait_seconds == pytest.approx(1.0 + (9.0 - 1.0) / 8)


def test_the_mean_wait_halves_every_ten_seconds(clock: Clock) -> None:
    tracker = RequestTracker(Metrics())
    stream_with_wait(tracker, clock, 16.0)
    for mean in (1.0, 0.5, 0.25):
        clock.seconds += 10.0
        assert tracker.load().wait_seconds == pytest.approx(mean)
    stream_with_wait(tracker, clock, 7.0)  # ten seconds later, with the three before it
    assert tracker.load().wait_seconds == pytest.approx(0.125 + (7.0 - 0.125) / 8)


def test_failed_and_whole_answers_have_no_wait(clock: Clock) -> None:
    tracker = RequestTracker(Metrics())
    stream_with_wait(tracker, clock, 8.0, status=502)
    with tracker.open("not streamed") as record:
        record.forwarded_at = clock.seconds
        clock.seconds += 8.0
    with tracker.open("not forwarded") as record:
        record.first_byte_at = clock.seconds
    assert tracker.load().wait_seconds == 0.0


@pytest.mark.parametrize(
    ("error", "raised", "status"),
    [
        (EngineDown("down"), EngineDown, 503),
        (ClientDisconnected(), ClientDisconnected, CLIENT_CLOSED_REQUEST),
        (asyncio.CancelledError(), Stopping, 503),
        (ZeroDivisionError(), ZeroDivisionError, 500),
        (KeyboardInterrupt(), KeyboardInterrupt, 500),
    ],
)
def test_a_request_is_closed_once_with_the_status_of_its_error(
    clock: Clock, error: BaseException, raised: type[BaseException], status: int
) -> None:
    closed: list[RequestRecord] = []
    metrics = Metrics()
    tracker = RequestTracker(metrics, closed.append)
    with pytest.raises(raised), tracker.open("id") as record:
        assert metrics.registry.get_sample_value("tops_in_flight") == 1
        clock.seconds += 2.0
        raise error
    assert closed == [record]
    assert (record.status, record.closed_at) == (status, 1002.0)
    assert metrics.registry.get_sample_value("tops_in_flight") == 0
    assert tracker.load().in_flight == 0


@pytest.mark.parametrize(
    ("completion", "thinking", "usage"),
    [(50, 40, Usage(5, 50, 40)), (5, 40, Usage(5, 45, 40)), (-5, 40, None), (5, -1, None)],
)
def test_implausible_counts_of_an_engine_do_not_fail_the_close(
    completion: int, thinking: int, usage: Usage | None
) -> None:
    reported = {
        "prompt_tokens": 5,
        "completion_tokens": completion,
        "completion_tokens_details": {"reasoning_tokens": thinking},
    }
    closed: list[RequestRecord] = []
    with RequestTracker(Metrics(), closed.append).open("id") as record:
        record.model, record.decision = "m", decision_with(10)
        record.record_usage(read_usage({"usage": reported}))
    assert [record.usage for record in closed] == [usage]


def test_idle_returns_when_the_requests_are_closed_or_the_time_is_over() -> None:
    tracker = RequestTracker(Metrics())

    async def request(seconds: float) -> None:
        with tracker.open("id"):
            await asyncio.sleep(seconds)

    async def run() -> tuple[int, int]:
        short = asyncio.create_task(request(0.05))
        await asyncio.sleep(0)
        await tracker.idle(30)
        after_short = tracker.load().in_flight
        endless = asyncio.create_task(request(30))
        await asyncio.sleep(0)
        await tracker.idle(0.05)
        after_endless = tracker.load().in_flight
        await short
        endless.cancel()
        return after_short, after_endless

    assert asyncio.run(run()) == (0, 1)


def test_requests_that_are_closed_together_are_told_together_and_once() -> None:
    metrics, due = Metrics(), list[Callable[[], None]]()
    tracker = RequestTracker(metrics, defer=due.append)
    for _ in range(2):
        for name in ("a", "b"):
            with tracker.open(name) as record:
                record.decision, record.model = decision_with(None), "m"
        assert len(due) == 1
        assert metrics.value("tops_in_flight") == 0
        due.pop()()
    lines = metrics.exposition("")[0].splitlines()
    counted = [line for line in lines if line.startswith(b"tops_requests_total{")]
    assert [float(line.split()[-1]) for line in counted] == [4]
