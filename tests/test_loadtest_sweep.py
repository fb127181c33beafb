"""A sweep raises its rate until too few requests keep the SLO."""

import asyncio
import json
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from engines import scripted

from loadtest.html_report import html_report
from loadtest.plan import Arm, Arrivals, Plan, PlanError, Slo, read_plan
from loadtest.problem import Problem
from loadtest.progress import Progress
from loadtest.record import Record
from loadtest.report import Report
from loadtest.sweep import run_sweep
from loadtest.workload import Task
from tops import main


@pytest.fixture(scope="module")
def engine() -> Generator[str]:
    with scripted() as url:
        yield url


@pytest.mark.parametrize(
    ("capacity", "rates", "sentence"),
    [
        (23, [4, 8, 16, 32, 22.627, 26.909], "saturates between 22.63 and 26.91 requests/s"),
        (99, [4, 8, 16, 32, 64], "not saturated at 64 requests/s, the highest rate that was tried"),
        (1, [4], "saturated at 4 requests/s (fewer than 90 % of requests within the SLO): set a"),
    ],
)
def test_rates_double_until_the_slo_breaks_and_are_bisected(
    capacity: float, rates: list[float], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server with a capacity is simulated: no real one has an exact one."""

    async def run(
        _: Plan, tasks: Sequence[Task], scheduled: Sequence[float], progress: Progress
    ) -> None:
        for task, offset in zip(tasks, scheduled, strict=True):
            assert task.offered_rate
            record = Record(task.arm.name, "p", None, scheduled_at=offset, ttft=0.01)
            record.offered_rate = task.offered_rate
            record.latency = 0.1 if task.offered_rate <= capacity else 3.0
            progress.add(record)

    monkeypatch.setattr("loadtest.sweep.run", run)
    plan = Plan(
        url="http://x",
        arms=(Arm(name="a"),),
        slo=Slo(latency_ms=500),
        arrivals=Arrivals(kind="sweep", rate=4, final_rate=64, stage_seconds=5),
    )
    progress = Progress(0)
    tasks = [Task((Problem("p", "", None),), arm) for arm in plan.arms]
    asyncio.run(run_sweep(plan, tasks, progress))
    sent = list(dict.fromkeys(record.offered_rate for record in progress.records))
    assert sent == pytest.approx(rates, abs=0.001)
    report = Report.of(plan, progress.records)
    assert sentence in report.markdown()
    assert "| 4 | a | 20 | 0 |" in report.markdown()
    assert "offered/s" in html_report(report)


def sweep(engine: str, folder: Path, **slo: float) -> dict[str, Any]:
    """The JSON report of a sweep from 20 to 40 requests per second, half a second each."""
    (folder / "p.jsonl").write_text('{"prompt": "think=2 chunks=3"}\n{"prompt": "chunks=5"}\n')
    limits = ", ".join(f"{name} = {limit}" for name, limit in slo.items())
    plan, out = folder / "plan.toml", folder / "out.json"
    plan.write_text(
        f'url = "{engine}/v1"\nproblems = {{file = "p.jsonl"}}\nslo = {{{limits}}}\n'
        "arrivals = {kind = 'sweep', rate = 20, final_rate = 40, stage_seconds = 0.5}\n"
        'arms = [{name = "a"}]\n'
    )
    assert main(["load", str(plan), "--json", str(out)]) == 0
    return json.loads(out.read_text())


def test_each_stage_of_a_sweep_is_reported(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = sweep(engine, tmp_path, latency_ms=60_000)
    assert [(stage["rate"], stage["summary"]["requests"]) for stage in report["stages"]] == [
        (20, 10),
        (40, 20),
    ]
    assert "not saturated at 40 requests/s" in capsys.readouterr().out
    (tmp_path / "p.jsonl").unlink()
    again = ["load", str(tmp_path / "plan.toml"), "--again", str(tmp_path / "out.json")]
    assert main(again) == 0
    assert "not saturated at 40 requests/s" in capsys.readouterr().out


def test_a_sweep_ends_at_the_first_rate_where_that_is_too_high(engine: str, tmp_path: Path) -> None:
    (stage,) = sweep(engine, tmp_path, latency_ms=0.001)["stages"]
    assert stage["within_slo"]["value"] == 0


def test_a_sweep_without_an_slo_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(
        'url = "http://x"\narms = [{name = "a"}]\n'
        "arrivals = {kind = 'sweep', rate = 2, final_rate = 4}\n"
    )
    with pytest.raises(PlanError, match=r"a sweep needs an \[slo\]"):
        read_plan(file)
