"""Load tests: plans that are refused, shipped plans, and a run against the real gateway."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

from loadtest.comparison import compare
from loadtest.intervals import Interval
from loadtest.plan import Arm, Plan, PlanError, Slo, read_plan
from loadtest.record import Record
from loadtest.report import Report
from loadtest.summary import goodput, summarise
from tops import main

PLANS = sorted((ROOT / "loadtest" / "plans").glob("*.toml"))


@pytest.mark.parametrize("file", PLANS, ids=lambda file: file.name)
def test_every_shipped_plan_parses(file: Path) -> None:
    assert read_plan(file, "http://127.0.0.1:9/v1").url == "http://127.0.0.1:9/v1"


def test_former_keys_of_a_plan_are_accepted_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(
        'url = "http://x"\narms = [{name = "a"}]\n'
        "clients = {leave_after = 3, slow_bytes = 100}\n"
        'arrivals = {kind = "ramp", rate = 1, to = 2, size = 4}\n'
    )
    plan = read_plan(file)
    assert (plan.clients.disconnect_after, plan.clients.slow_bytes_per_second) == (3, 100)
    assert (plan.arrivals.final_rate, plan.arrivals.burst_size) == (2, 4)
    assert sorted(capsys.readouterr().err.splitlines()) == [
        "warning: plan: leave_after is deprecated: use disconnect_after",
        "warning: plan: size is deprecated: use burst_size",
        "warning: plan: slow_bytes is deprecated: use slow_bytes_per_second",
        "warning: plan: to is deprecated: use final_rate",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('url = "http://x"\narms = []', "arms"),
        ('url = "ftp://x"\n[[arms]]\nname = "a"', "url"),
        ('url = "http://x:99999"\n[[arms]]\nname = "a"', "url: Port out of range"),
        ('url = "http://x"\n[[arms]]\nname = "a"\nurl = "http://y:z"', "arms.0.url: Port"),
        ('url = "http://x"\nconcurency = 2\n[[arms]]\nname = "a"', "did you mean concurrency?"),
        ('url = "http://x"\n[[arms]]\nname = "a"\nefort = "low"', "did you mean effort?"),
        ('url = "http://x"\n[[arms]]\nname = "a"\nbudget = [5, 1]', "low to high"),
        ('url = "http://x"\n[[arms]]\nname = "a"\n[[arms]]\nname = "a"', "same name"),
        ('url = "http://x"\n[slo]\nttft = 2\n[[arms]]\nname = "a"', "did you mean ttft_ms?"),
        ('url = "http://x"\nclients = 5\n[[arms]]\nname = "a"', "clients"),
        (
            'url = "http://x"\n[clients]\nslow_bytes = 1\nslow_bytes_per_second = 2\n'
            '[[arms]]\nname = "a"',
            "slow_bytes is the old name of slow_bytes_per_second",
        ),
        ("url = ", "plan.toml"),
    ],
)
def test_an_invalid_plan_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(text + "\n")
    with pytest.raises(PlanError) as refused:
        read_plan(file)
    assert message in str(refused.value)


def shorten(name: str, folder: Path) -> Path:
    """A shipped plan with twelve problems."""
    text = (ROOT / "loadtest" / "plans" / name).read_text()
    file = folder / name
    file.write_text(re.sub(r"^n = (300|250)$", "n = 12", text, flags=re.MULTILINE))
    return file


def run_plan(name: str, gateway: str, folder: Path) -> dict[str, Any]:
    """The JSON report of a shipped plan's run."""
    out, plan = folder / "report.json", shorten(name, folder)
    assert main(["load", str(plan), "--url", f"{gateway}/v1", "--json", str(out)]) == 0
    return json.loads(out.read_text())


def test_efforts_are_compared_on_the_same_problems(
    gateway: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run_plan("efforts.toml", gateway, tmp_path)
    tokens = {row["arm"]: row["thinking_tokens"]["value"] for row in report["arms"]}
    assert tokens["none"] < tokens["low"] < tokens["medium"] < tokens["high"]
    assert 0 < tokens["auto"] < tokens["high"]
    assert len(report["records"]) == 60
    assert all(record["error"] is None for record in report["records"])
    printed = capsys.readouterr().out
    assert "auto against high" in printed
    assert "| auto | 12 | 0 |" in printed
    assert "the load generator was" in printed


def test_random_budgets_hold(gateway: str, tmp_path: Path) -> None:
    report = run_plan("budgets.toml", gateway, tmp_path)
    assert sum(row["hits"] for row in report["arms"]) > 0
    for row in report["arms"]:
        assert row["violations"] == row["false_hits"] == row["unanswered"] == 0


def test_a_proxy_of_the_environment_gets_no_request_to_this_machine(
    gateway: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nothing listens
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")  # so that it is restored
    report = run_plan("budgets.toml", gateway, tmp_path)
    assert {record["ended"] for record in report["records"]} == {"answer"}


def test_a_server_that_is_down_is_reported_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = shorten("efforts.toml", tmp_path)
    assert main(["load", str(plan), "--url", "http://127.0.0.1:1/v1"]) == 1
    printed = capsys.readouterr()
    assert "nothing listens at http://127.0.0.1:1/v1" in printed.err
    assert not printed.out


def test_a_url_without_v1_is_refused_before_the_run(
    gateway: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = shorten("efforts.toml", tmp_path)
    assert main(["load", str(plan), "--url", gateway]) == 2
    assert capsys.readouterr().err == f"Error: {gateway} is not the base URL of the API: add /v1\n"


def record(arm: str, problem: str, **options: Any) -> Record:
    fields = {"thinking_tokens": 10, "effort": "low", **options}
    ended = "error" if "error" in fields else "answer"
    return Record(arm, problem, fields.pop("budget", None), **{"ended": ended, **fields})


def test_the_counts_of_an_arm() -> None:
    rows = [
        record(
            "a", "1", budget=11, budget_hit=True, answered=True
        ),  # the engine stopped a token early
        record("a", "2", budget=9, budget_hit=False, answered=True),
        record("a", "3", budget=50, budget_hit=True, answered=False),
        record("a", "4", error="timeout"),
    ]
    counts = summarise(rows, "a")
    assert counts["violations"] == 1
    assert counts["false_hits"] == 2
    assert counts["unanswered"] == 1
    assert counts["errors"] == {"timeout": 1}


def test_goodput_counts_requests_within_the_slo_per_second_of_the_run() -> None:
    answer = {"latency": 1.0, "ttft": 0.1, "completion_tokens": 10}
    rows = [
        record("a", "1", scheduled_at=0.0, **answer),
        record("a", "2", scheduled_at=1.0, **{**answer, "ttft": 0.9}),
        record("a", "3", scheduled_at=2.0, **{**answer, "latency": 2.0}),
        record("a", "4", scheduled_at=3.0, error="timeout", **answer),
        record("a", "5", scheduled_at=3.0, **{**answer, "ttft": None}),
        record("b", "1", scheduled_at=4.0, latency=6.0),
    ]
    assert goodput(Slo(ttft_ms=500, latency_ms=1500), rows, "a")[1] == 0.1
    assert goodput(Slo(ttft_ms=500), rows, "a")[0].value == 0.4
    assert goodput(Slo(tpot_ms=150), rows, "a")[0].value == 0.4
    assert goodput(Slo(), rows, "a")[0].value == 0.8
    rows.append(record("c", "1", scheduled_at=0.0, latency=0.1, ttft=0.1, completion_tokens=1))
    assert goodput(Slo(tpot_ms=1), rows, "c")[0].value == 1.0
    assert rows[0].tpot == pytest.approx(0.1)


def test_slow_clients_count_in_everything_but_latencies() -> None:
    fields = {"ttft": 0.1, "correct": True, "completion_tokens": 11}
    rows = [record("a", "1", latency=0.2, **fields)]
    rows.append(record("a", "2", latency=20.0, client="slow", **fields))
    summary = summarise(rows, "a")
    assert summary["requests"] == 2
    assert summary["latency_ms"]["p99"].value == pytest.approx(200)
    assert goodput(Slo(latency_ms=500), rows, "a")[0].value == 1.0


def test_records_as_csv() -> None:
    rows = [record("a", "1", latency=1.5), record("a", 'odd "one", here', error="timeout")]
    plan = read_plan(PLANS[0])
    read = list(csv.DictReader(Report.of(plan, rows).as_csv().splitlines()))
    assert [row["problem_id"] for row in read] == ["1", 'odd "one", here']
    assert (read[0]["latency"], read[1]["error"]) == ("1.5", "timeout")
    counted = [record("a", "1", completion_tokens=14)]
    (row,) = csv.DictReader(Report.of(plan, counted).as_csv().splitlines())
    assert (row["thinking_tokens"], row["answer_tokens"]) == ("10", "4")


def test_arms_are_compared_problem_by_problem() -> None:
    rows = [record("high", str(i), thinking_tokens=100, correct=True) for i in range(40)]
    rows += [record("auto", str(i), thinking_tokens=25, correct=i > 3) for i in range(40)]
    comparison = compare(rows, "auto", "high")
    assert comparison
    assert comparison.pairs == 40
    assert comparison.figures["thinking_tokens_saved"] == Interval(0.75, 0.75, 0.75)
    accuracy = comparison.figures["accuracy_difference"]
    assert accuracy.value == pytest.approx(-0.1)
    assert accuracy.low < -0.1 < accuracy.high
    assert compare(rows[:40], "auto", "high") is None


def test_the_interval_of_accuracies_that_never_differ_has_a_width() -> None:
    rows = [record(arm, str(i), correct=True) for i in range(20) for arm in ("high", "auto")]
    comparison = compare(rows, "auto", "high")
    assert comparison
    accuracy = comparison.figures["accuracy_difference"]
    assert accuracy.value == 0
    assert -0.3 < accuracy.low < 0 < accuracy.high < 0.3


def test_slow_clients_are_excluded_from_pairs_of_latencies() -> None:
    rows = [record("high", str(i), latency=2.0) for i in range(20)]
    rows += [record("auto", str(i), latency=1.0) for i in range(20)]
    rows += [record("high", f"s{i}", latency=2.0, client="slow") for i in range(5)]
    rows += [record("auto", f"s{i}", latency=90.0, client="slow") for i in range(5)]
    comparison = compare(rows, "auto", "high")
    assert comparison
    assert comparison.figures["latency_saved"] == Interval(0.5, 0.5, 0.5)
    assert (comparison.pairs, comparison.counts["latency_saved"]) == (25, 20)
    plan = Plan(url="http://x", arms=(Arm(name="high"), Arm(name="auto")), baseline="high")
    markdown = Report.of(plan, rows).markdown()
    assert "auto against high, 25 pairs: 0.0 [0.0, 0.0] % fewer thinking tokens, 50.0" in markdown
    assert "% lower latency (of 20 pairs)" in markdown


def test_arms_with_budgets_are_compared_with_a_baseline_too() -> None:
    plan = Plan(url="http://x", arms=(Arm(name="a", budget=(5, 9)), Arm(name="b")), baseline="b")
    ours = [record("a", str(n), budget=9, thinking_tokens=5) for n in range(20)]
    theirs = [record("b", str(n)) for n in range(20)]
    markdown = Report.of(plan, ours + theirs).markdown()
    assert "violations" in markdown
    assert "a against b, 20 pairs: 50.0 [50.0, 50.0] % fewer thinking tokens" in markdown
    unrelated = [record("b", f"other {n}") for n in range(20)]
    assert Report.of(plan, ours + unrelated).notes == ["a and b have no answered problem in common"]
