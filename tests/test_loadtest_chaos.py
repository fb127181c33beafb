"""Chaos at a small size: everything breaks under load, and what has to hold then does."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from processes import ROOT

from loadtest.chaos.__main__ import told
from loadtest.chaos.evidence import Ending, Evidence, Taken
from loadtest.chaos.run import Scale, Stopped, _run, chaos
from loadtest.chaos.stand import Closed
from loadtest.chaos.verdict import verdict
from loadtest.plan import read_plan
from loadtest.problem import Problem
from loadtest.progress import Progress
from loadtest.record import Record
from loadtest.workload import plan_tasks

PLAN = read_plan(ROOT / "loadtest" / "plans" / "chaos.toml")


@pytest.mark.skipif(sys.platform != "linux", reason="it fills a disk by Linux' means")
def test_whatever_breaks_every_request_ends_once_and_is_counted() -> None:
    evidence = asyncio.run(chaos(PLAN, Scale(seconds=10, stall_seconds=2, drain_seconds=3)))
    checks = verdict(evidence)
    assert all(check.holds for check in checks), told(evidence, checks)


def test_the_plan_has_rude_clients_from_the_beginning() -> None:
    tasks = plan_tasks(PLAN, [(Problem(str(n), "?"),) for n in range(30)])
    assert {"malformed", "disconnecting"} <= {task.client for task in tasks}


def test_a_run_that_was_stopped_proves_nothing() -> None:
    progress = Progress(0)
    assert asyncio.run(_run(PLAN, [], None, progress)) == []
    progress.stopped = True
    with pytest.raises(Stopped):
        asyncio.run(_run(PLAN, [], None, progress))


def record(request_id: str, **fields: Any) -> Record:
    usual = {"request_id": request_id, "status": 200, "latency": 0.1}
    return Record("auto", "p", None, **{**usual, **fields})


def good() -> Evidence:
    """A run in which everything held, of six requests."""
    records = [
        record("a", latency=2.5),
        record("b", ended="disconnected", client="disconnecting"),
        record("c", ended="refused", status=400, client="malformed"),
        record("d", ended="error", error="HTTP 503", status=503),
        record("e", ended="error", error="error event"),
        record("f", ended="error", error="ConnectError", status=None),
    ]
    closed = [
        Closed("a", 200, 7, 3),
        Closed("b", 499, None, None),
        Closed("c", 400, None, None, decided=False),
        Closed("d", 503, None, None),
        Closed("e", 502, None, None),
    ]
    return Evidence(
        records=records,
        closed=closed,
        whole={"a": Closed("a", 200, 7, 3), "b": Closed("b", 200, 1, 1)},
        ledger={one.request_id: one for one in closed if one.decided},
        at_rest=5,
        metrics={
            "tops_in_flight": 0.0,
            "tops_requests_total": 5.0,
            "tops_thinking_tokens_total": 7.0,
            "tops_answer_tokens_total": 3.0,
        },
        engine_running=0,
        before=Taken(100 * 2**20, 20),
        after=Taken(101 * 2**20, 20),
        scrapes=[0.01, 0.02],
        stall_seconds=2.0,
        ledger_refused=1,
        ending=Ending(0, 3.2, 3.0, 12),
        oddities=[],
    )


def test_a_good_run_passes_and_says_what_was_seen() -> None:
    checks = verdict(good())
    assert all(check.holds for check in checks)
    table = told(good(), checks)
    assert "5 accepted: 1 answer, 1 disconnected, 2 error, 1 refused" in table
    assert "6 requests: answer x 1" in table


def without(name: str) -> Callable[[Evidence], Any]:
    return lambda e: [one for one in e.closed if one.request_id != name]


def status_of(name: str, status: int) -> Callable[[Evidence], Any]:
    return lambda e: [
        replace(one, status=status) if one.request_id == name else one for one in e.closed
    ]


@pytest.mark.parametrize(
    ("name", "field", "change"),
    [
        ("the faults happened", "ledger_refused", lambda e: 0),
        ("the faults happened", "stall_seconds", lambda e: 3.0),
        ("every accepted request ended once", "closed", without("a")),
        ("every accepted request ended once", "closed", lambda e: [*e.closed, e.closed[0]]),
        ("nothing hung", "records", lambda e: [record("a", error="timeout")]),
        ("clients and gateway agree on each end", "closed", status_of("a", 499)),
        ("clients and gateway agree on each end", "closed", status_of("e", 200)),
        ("clients and gateway agree on each end", "closed", status_of("d", 502)),
        ("gauges are back at zero", "metrics", lambda e: {**e.metrics, "tops_in_flight": 1.0}),
        ("gauges are back at zero", "engine_running", lambda e: 1),
        ("memory returned", "after", lambda e: Taken(200 * 2**20, 20)),
        ("descriptors returned", "after", lambda e: Taken(100 * 2**20, 40)),
        ("tokens are what the engine counted", "whole", lambda e: {}),
        ("tokens are what the engine counted", "whole", lambda e: {"a": Closed("a", 200, 8, 3)}),
        ("tokens are what the engine counted", "closed", status_of("b", 502)),
        ("metrics are the log's sums", "metrics", lambda e: {"tops_in_flight": 0.0}),
        ("the ledger has it all", "ledger", lambda e: {}),
        ("the ledger has it all", "metrics", lambda e: {**e.metrics, "tops_ledger_lost_total": 1}),
        ("every scrape was answered", "scrapes", lambda e: [0.1, None]),
        ("every scrape was answered", "scrapes", lambda e: []),
        ("SIGTERM ended the gateway", "ending", lambda e: Ending(None, 30.0, 3.0, 12)),
        ("SIGTERM ended the gateway", "ending", lambda e: Ending(1, 3.0, 3.0, 12)),
        ("the gateway met nothing unexpected", "oddities", lambda e: ["Traceback"]),
    ],
)
def test_what_does_not_hold_is_found(
    name: str, field: str, change: Callable[[Evidence], Any]
) -> None:
    spoilt = replace(good(), **{field: change(good())})
    assert name in [check.name for check in verdict(spoilt) if not check.holds]
