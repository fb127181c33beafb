"""A small chaos run, and each check of its verdict on evidence that violates it."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from paths import ROOT
from polling import PATIENCE_SECONDS

from loadtest.chaos.closed_request import ClosedRequest
from loadtest.chaos.evidence import Evidence, SecondGateway, Shutdown
from loadtest.chaos.run import Scale, StoppedError, chaos, run_tasks
from loadtest.chaos.verdict import verdict, verdict_table
from loadtest.plan import read_plan
from loadtest.problem import Problem
from loadtest.process_usage import ProcessUsage
from loadtest.progress import Progress
from loadtest.record import Record
from loadtest.workload import plan_tasks

PLAN = read_plan(ROOT / "loadtest" / "plans" / "chaos.toml")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the file size of another process")
def test_under_faults_every_request_ends_once_and_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for limit in ("verdict._EXIT_SECONDS", "verdict._MAX_SCRAPE_SECONDS", "run._REST_SECONDS"):
        monkeypatch.setattr(
            f"loadtest.chaos.{limit}", PATIENCE_SECONDS
        )  # they are of a quiet machine
    scale = Scale(seconds=8, stall_seconds=2, shutdown_timeout=3, capacity_repeats=5)
    evidence = asyncio.run(chaos(PLAN, scale))
    checks = verdict(evidence)
    assert all(check.holds for check in checks), verdict_table(evidence, checks)


def test_the_plan_has_misbehaving_clients_from_the_beginning() -> None:
    tasks = plan_tasks(PLAN, [(Problem(str(n), "?"),) for n in range(30)])
    assert {"malformed", "disconnecting"} <= {task.client for task in tasks}


def test_a_stopped_run_raises() -> None:
    progress = Progress(0)
    assert asyncio.run(run_tasks(PLAN, [], None, progress)) == []
    progress.stopped = True
    with pytest.raises(StoppedError):
        asyncio.run(run_tasks(PLAN, [], None, progress))


def record(request_id: str, **fields: Any) -> Record:
    defaults = {"request_id": request_id, "status": 200, "latency": 0.1}
    return Record("auto", "p", None, **{**defaults, **fields})


def flawless() -> Evidence:
    """Six requests for which every check holds."""
    records = [
        record("a", latency=2.5),
        record("b", ended="disconnected", client="disconnecting"),
        record("c", ended="refused", status=400, client="malformed"),
        record("d", ended="error", error="HTTP 503", status=503),
        record("e", ended="error", error="error event"),
        record("f", ended="error", error="ConnectError", status=None),
        record("g", client="closing"),
    ]
    closed = [
        ClosedRequest("a", 200, 7, 3),
        ClosedRequest("b", 499, None, None),
        ClosedRequest("c", 400, None, None, decided=False),
        ClosedRequest("d", 503, None, None),
        ClosedRequest("e", 502, None, None),
        ClosedRequest("g", 200, 0, 0),
    ]
    completed = {
        "a": ClosedRequest("a", 200, 7, 3),
        "b": ClosedRequest("b", 200, 1, 1),
        "g": ClosedRequest("g", 200, 0, 0),
    }
    rows = {name: ClosedRequest(name, 200, 5, 10) for name in ("h", "session-2")}
    return Evidence(
        records=records,
        closed=closed,
        engine_completing=completed,
        engine_completed=completed,
        ledger={**{row.request_id: row for row in closed if row.decided}, **rows},
        closed_at_rest=6,
        metrics={
            "tops_in_flight": 0.0,
            "tops_requests_total": 6.0,
            "tops_thinking_tokens_total": 7.0,
            "tops_answer_tokens_total": 3.0,
        },
        engine_running=0,
        usage_before=ProcessUsage(100 * 2**20, 20),
        usage_at_rest=ProcessUsage(101 * 2**20, 20),
        scrapes=[0.01, 0.02],
        stall_seconds=2.0,
        ledger_failures=1,
        second=SecondGateway([record("h")], rows, 1, 1),
        shutdown=Shutdown(0, 3.2, 3.0, 12),
        log_errors=[],
    )


def test_all_checks_hold_for_flawless_evidence() -> None:
    checks = verdict(flawless())
    assert all(check.holds for check in checks)
    table = verdict_table(flawless(), checks)
    assert "6 accepted: 2 answer, 1 disconnected, 2 error, 1 refused" in table
    assert "7 requests: answer x 2" in table


def without(request_id: str) -> Callable[[Evidence], Any]:
    return lambda e: [request for request in e.closed if request.request_id != request_id]


def with_status(request_id: str, status: int) -> Callable[[Evidence], Any]:
    return lambda e: [
        replace(request, status=status) if request.request_id == request_id else request
        for request in e.closed
    ]


@pytest.mark.parametrize(
    ("check_name", "field", "change"),
    [
        ("the faults occurred", "ledger_failures", lambda e: 0),
        ("the faults occurred", "stall_seconds", lambda e: 3.0),
        ("every accepted request was closed once", "closed", without("a")),
        ("every accepted request was closed once", "closed", lambda e: [*e.closed, e.closed[0]]),
        ("no request hung", "records", lambda e: [record("a", error="timeout")]),
        ("clients and gateway agree on how requests ended", "closed", with_status("a", 499)),
        ("clients and gateway agree on how requests ended", "closed", with_status("e", 200)),
        ("clients and gateway agree on how requests ended", "closed", with_status("d", 502)),
        ("gauges returned to zero", "metrics", lambda e: {**e.metrics, "tops_in_flight": 1.0}),
        ("gauges returned to zero", "engine_running", lambda e: 1),
        ("memory returned", "usage_at_rest", lambda e: ProcessUsage(200 * 2**20, 20)),
        ("file descriptors returned", "usage_at_rest", lambda e: ProcessUsage(100 * 2**20, 40)),
        ("token counts match the engine", "engine_completing", lambda e: {}),
        (
            "token counts match the engine",
            "engine_completing",
            lambda e: {"a": ClosedRequest("a", 200, 8, 3)},
        ),
        ("token counts match the engine", "closed", with_status("b", 502)),
        ("metrics match the log", "metrics", lambda e: {"tops_in_flight": 0.0}),
        ("the ledger is complete", "ledger", lambda e: {}),
        (
            "the ledger is complete",
            "metrics",
            lambda e: {**e.metrics, "tops_ledger_lost_total": 1},
        ),
        ("every scrape of /metrics was answered", "scrapes", lambda e: [0.1, None]),
        ("every scrape of /metrics was answered", "scrapes", lambda e: []),
        *(
            ("a second gateway on the ledger lost nothing", "second", change)
            for change in (
                lambda e: replace(e.second, records=[record("h", ended="error")]),
                lambda e: replace(e.second, rows={"h": e.second.rows["h"]}),
                lambda e: replace(e.second, lines_lost=0),
                lambda e: replace(e.second, shared_conversations=2),
            )
        ),
        (
            "the gateway exited after SIGTERM",
            "shutdown",
            lambda e: Shutdown(None, 30.0, 3.0, 12),
        ),
        ("the gateway exited after SIGTERM", "shutdown", lambda e: Shutdown(1, 3.0, 3.0, 12)),
        ("the gateway logged no unexpected error", "log_errors", lambda e: ["Traceback"]),
    ],
)
def test_a_violation_fails_its_check(
    check_name: str, field: str, change: Callable[[Evidence], Any]
) -> None:
    evidence = replace(flawless(), **{field: change(flawless())})
    assert check_name in [check.name for check in verdict(evidence) if not check.holds]
