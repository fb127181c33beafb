"""The savings report and what-if on simulated ledgers whose truth is known."""

import json
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ledgers import connect
from processes import run_tops
from sqlalchemy import Engine, insert

from server.ledger.reader import snapshot
from server.ledger.schema import prepare, requests
from server.ledger.selection import Selection
from server.savings.evidence import Evidence, gather, gather_quickly
from server.savings.html_report import html_report
from server.savings.prices import Prices
from server.savings.query import query
from server.savings.report import report
from server.savings.text_report import text_report
from tops import main

EFFORTS = ("low", "medium", "high")
TOKENS = {"low": 40.0, "medium": 120.0, "high": 400.0}
SHARES = {"p_treated": 0.8, "p_holdout": 0.05, "p_explore": 0.05}


def simulated(number: int = 8_000, off: float = 1.0) -> list[dict[str, Any]]:
    """Rows as the ledger gives them. Half of the prompts are easy and routed to low.

    The router's predictions of tokens are `off` times the truth.
    """
    rng = np.random.default_rng(7)
    rows: list[dict[str, Any]] = []
    for place in range(number):
        hard = float(rng.random())
        expected = {effort: tokens * (0.5 + hard) for effort, tokens in TOKENS.items()}
        p = {"low": 0.99 - 0.6 * hard, "medium": 0.99 - 0.2 * hard, "high": 0.99}
        routed = "low" if hard < 0.5 else "high"
        draw = rng.random()
        if draw < SHARES["p_treated"]:
            arm, effort = "treated", routed
        elif draw < SHARES["p_treated"] + SHARES["p_holdout"]:
            arm, effort = "holdout", "high"
        else:
            arm, effort = "explore", EFFORTS[rng.integers(3)]
        thinking = round(expected[effort] * rng.lognormal(0, 0.3))
        rows.append(
            {
                "request_id": f"r{place}",
                "at": 1.8e9 + place * 30,
                "model": "m",
                "key": "k" if place % 3 else "other",
                "kind": "json" if place % 4 else None,
                "conversation": f"{place:032x}",
                "arm": arm,
                **SHARES,
                "effort": effort,
                "source": "router" if arm == "treated" else "holdout",
                "routed": routed,
                "pinned": None,
                "baseline": "high",
                "calibrated": True,
                "baseline_tokens": off * expected["high"],
                "baseline_p_correct": p["high"],
                "features": 1,
                "p_correct": p,
                "expected_tokens": {name: off * tokens for name, tokens in expected.items()},
                "budget": None,
                "budget_hit": False,
                "choices": 1,
                "prompt_tokens": 10,
                "thinking_tokens": thinking,
                "answer_tokens": 10,
                "ttft_seconds": None,
                "seconds": 0.01 * thinking,
                "status": 200,
                "abstained": None,
                "reason": "",
                "score": float(rng.random() < p[effort]),
                "scored_at": None,
            }
        )
    return rows


@contextmanager
def kept(rows: list[dict[str, Any]]) -> Generator[Engine]:
    """A ledger with these rows."""
    with tempfile.TemporaryDirectory() as folder:
        engine = connect(f"sqlite:///{folder}/ledger.db")
        prepare(engine)
        if rows:
            with engine.begin() as connection:
                connection.execute(insert(requests), rows)
        yield engine
        engine.dispose()


def evidence(rows: list[dict[str, Any]]) -> Evidence:
    """What the report reads of them."""
    with kept(rows) as engine, snapshot(engine) as connection:
        return gather(connection, Selection())


TRUE_SHARE = 1 - (40 * 0.375 + 400 * 0.625) / 400
"""Of thinking tokens: easy prompts (0.75 of the mean) take 40 instead of 400."""


@pytest.mark.parametrize("off", [0.5, 1.0, 2.0])
def test_the_report_finds_what_was_saved(off: float) -> None:
    summary = report(evidence(simulated(off=off)), Prices.of((), 2.0))
    for name, share in (("thinking_tokens", TRUE_SHARE), ("seconds", TRUE_SHARE)):
        low, high = summary["savings"][name]["share_ci"]
        assert low < share < high
        assert high - low < 0.1
        outer = summary["savings"][name]["share_always"]
        assert outer[0] < low < high < outer[1]
    tokens, money = (summary["savings"][name] for name in ("completion_tokens", "money"))
    assert money["saved"] == pytest.approx(tokens["saved"] * 2e-6)
    assert (
        summary["by"]["effort"]["high"]["share_ci"][0]
        < 0
        < summary["by"]["effort"]["high"]["share_ci"][1]
    )
    assert summary["by"]["effort"]["low"]["share"] == pytest.approx(0.9, abs=0.05)
    assert set(summary["by"]["key"]) == {"k", "other"}
    assert len(summary["by"]["day"]) >= 3


def test_a_part_of_the_held_out_requests_gives_the_same_saving_less_sharply() -> None:
    with kept(simulated()) as engine, snapshot(engine) as connection:
        quick = gather_quickly(connection, Selection(), ("routed",), limit=100)
        whole = report(gather(connection, Selection()), None)["savings"]["thinking_tokens"]
    part = report(quick, None, ("effort",))
    saving = part["savings"]["thinking_tokens"]
    assert saving["held_out_requests"] < 110 < whole["held_out_requests"]
    assert (saving["requests"], saving["taken"]) == (whole["requests"], whole["taken"])
    low, high = saving["share_ci"]
    assert low < TRUE_SHARE < high
    assert high - low > 1.5 * (whole["share_ci"][1] - whole["share_ci"][0])
    assert set(part["by"]["effort"]) == {"low", "high"}


def test_the_report_tells_what_savings_cost_in_accuracy() -> None:
    accuracy = report(evidence(simulated()), None)["accuracy"]
    low, high = accuracy["difference_ci"]
    assert low < -0.6 * 0.25 / 2 < high
    assert "against the baseline effort" in text_report(report(evidence(simulated()), None))


def test_right_answers_alone_do_not_make_an_interval_of_no_width() -> None:
    rows = [
        {**row, "score": 1.0 if row["arm"] == "holdout" else float(place % 20 > 0)}
        for place, row in enumerate(simulated(1_500))
    ]
    low, high = report(evidence(rows), None)["accuracy"]["difference_ci"]
    assert low < -0.05 < high
    assert high - low > 0.02


def test_a_share_of_nothing_is_null() -> None:
    rows = [{**row, "thinking_tokens": 0} for row in simulated(200)]
    for row in rows[:100]:
        row["key"] = "few"
        row["thinking_tokens"] = 10 if row["arm"] == "treated" else 0
    summary = report(evidence(rows), None)
    json.dumps(summary, allow_nan=False)
    assert "pending" in text_report(summary)


def test_an_empty_ledger_is_pending_everywhere() -> None:
    summary = report(evidence([]), Prices.of((), 1.0))
    assert all(entry["pending"] for entry in summary["savings"].values())
    assert "pending" in text_report(summary)
    json.dumps(summary, allow_nan=False)


def test_rows_without_a_holdout_prove_nothing() -> None:
    rows = [{**row, "p_holdout": 0.0} for row in simulated(100) if row["arm"] == "treated"]
    summary = report(evidence(rows), None)
    assert summary["not_comparable"] == len(rows)
    assert summary["savings"]["thinking_tokens"]["pending"]


def test_abstentions_on_the_newest_requests_are_told_with_their_most_frequent_reason(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = connect(url)
    prepare(engine)
    rows = simulated(100)
    for place, row in enumerate(rows):
        row |= {
            "model": "n" if place < 10 else "m",
            "source": "request" if place < 20 else "router",
        }
        if place >= 60:
            row |= {"source": "fallback", "abstained": "rare" if place < 70 else "frequent"}
    with engine.begin() as connection:
        connection.execute(insert(requests), rows)
    engine.dispose()
    summary = query(url, Selection(model="m"), None, {})
    assert summary["abstentions"] == {"requests": 80, "reasons": {"frequent": 30, "rare": 10}}
    assert "abstained on 40 of the newest 80" in text_report(summary)
    assert "mostly: frequent" in text_report(summary)
    assert "abstained" not in text_report(query(url, Selection(model="n"), None, {}))


def test_predictions_may_be_missing() -> None:
    rows = simulated()
    for row in rows[::2]:
        row["baseline_tokens"] = None
    low, high = report(evidence(rows), None)["savings"]["thinking_tokens"]["share_ci"]
    assert low < TRUE_SHARE < high


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = connect(url)
    prepare(engine)
    now = time.time()
    with engine.begin() as connection:
        rows = [{**row, "at": now - place} for place, row in enumerate(simulated(3_000))]
        connection.execute(insert(requests), rows)
    engine.dispose()
    words = ["--ledger", url, "--what-if", "effort=low", "--what-if", "price=0.5", "--json"]
    assert main(["savings", *words]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["requests"]["treated"] > 2_000
    assert set(summary["what_if"]) == {"effort=low", "price=0.5"}
    assert main(["savings", "--ledger", url, "--since", "30m", "--key", "k"]) == 0
    output = capsys.readouterr().out
    assert "saved:" in output
    assert all(kind in output for kind in ("by kind", "  json ", "  unknown "))
    assert main(["savings", "--ledger", url, "--kind", "json", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["by"]["kind"]) == {"json"}
    assert main(["savings", "--ledger", url, "--since", "2990-01-01", "--html"]) == 0
    output = capsys.readouterr().out
    assert "pending" in output
    assert "http" not in output


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--since yesterday", "--since takes 7d"),
        ("--what-if max_loss=0.01", "needs --router"),
        ("--what-if max_loss=abc --router r", "max_loss=abc: it must be a number from 0 to 1"),
        ("--what-if max_loss=2 --router r", "max_loss=2: it must be a number from 0 to 1"),
        ("--what-if effort=lowest", "effort=none|minimal"),
        ("--what-if price=dear", "price=dear: it must be a number of 0 or more"),
        ("--what-if price=inf", "price=inf: it must be a number of 0 or more"),
        ("--completion-price nan", "not a finite number"),
        ("--html --json", "--json and --html exclude each other"),
    ],
)
def test_bad_words_are_refused(words: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["savings", *words.split()]) == 2
    assert reason in capsys.readouterr().err


def test_a_missing_ledger_is_reported(tmp_path: Path) -> None:
    output = run_tops("savings", "--ledger", f"sqlite:///{tmp_path}/no/db")
    assert output.returncode == 1
    assert output.stderr.startswith("Error: ")


def test_the_page_escapes() -> None:
    summary = report(evidence(simulated(200)), None)
    summary["by"]["model"] = {"<script>": summary["savings"]["seconds"]}
    assert "<script>" not in html_report(summary)
