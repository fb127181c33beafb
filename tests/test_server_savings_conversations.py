"""Figures per conversation, per solved one and per turn, and money, against brute force."""

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, insert
from test_server_ledger import engine, postgres
from test_server_savings_report import simulated

from server.config.price_settings import PriceSettings
from server.ledger.conversation_figures import MEASURES
from server.ledger.loop_figures import loop_sums
from server.ledger.reader import snapshot
from server.ledger.selection import Selection
from server.ledger.summaries import add_new
from server.ledger.tables import conversation_scores, requests
from server.ledger.totals import read_totals
from server.savings.loops import loop_report
from server.savings.prices import Prices
from server.savings.query import query, whole_conversations
from server.savings.ratio import pair
from server.savings.spending import spending
from server.savings.text_report import text_report
from tops import main

__all__ = ["engine", "postgres"]

START = 1.8e9
PRICES = Prices.of(
    (
        PriceSettings(model="m", input=2, cached_input=0.2, cache_write=2.5, answer=8, thinking=6),
        PriceSettings(model="*", input=1, answer=4),
    ),
    None,
)
MONEY = {"m": (2, 0.2, 2.5, 6, 8), "small": (1, 1, 1, 4, 4)}


def rows_of_conversations(number: int = 300, seed: int = 1) -> list[dict[str, Any]]:
    """Conversations of one to six turns, a fifth held out, of which each turn thinks longer."""
    rng = np.random.default_rng(seed)
    template = simulated(1)[0]
    rows: list[dict[str, Any]] = []
    for conversation in range(number):
        held_out = conversation % 5 == 0
        is_explicit = conversation % 31 == 30
        length = float(rng.lognormal(0, 0.5))
        for turn in range(1 + int(rng.integers(6))):
            thinking = int(length * (400 if held_out else 150))
            rows.append(
                {
                    **template,
                    "request_id": f"{conversation}-{turn}",
                    "conversation": f"{conversation * 7919 % 65536:032x}",
                    "at": START + conversation * 600 + turn * 5,
                    "model": "small" if turn == 1 else "m",
                    "key": ("k", "other")[conversation % 2],
                    "kind": None,
                    "arm": None if is_explicit else ("holdout" if held_out else "treated"),
                    "p_treated": 0.8,
                    "p_holdout": 0.2,
                    "effort": "high" if held_out else "low",
                    "status": 503 if rng.random() < 0.05 else 200,
                    "prompt_tokens": 100 + 50 * turn,
                    "cached_tokens": 40 * turn,
                    "cache_write_tokens": 10,
                    "thinking_tokens": thinking,
                    "answer_tokens": 20,
                    "unsplit_tokens": 5 if turn == 3 else None,
                    "seconds": thinking / 50,
                    "loop_turn": turn + 1 if conversation % 2 else None,
                }
            )
    return rows


def scored(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = list(dict.fromkeys((row["conversation"], row["key"]) for row in rows))
    return [
        {"conversation": name, "key": key, "score": float(place % 3 > 0), "scored_at": START}
        for place, (name, key) in enumerate(names)
        if place % 4
    ]


def fill(engine: Engine, rows: list[dict[str, Any]], scores: list[dict[str, Any]]) -> None:
    with engine.begin() as connection:
        connection.execute(insert(requests), rows)
        if scores:
            connection.execute(insert(conversation_scores), scores)


def cost(row: dict[str, Any]) -> float:
    """By the definition of the prices, one request by itself."""
    plain, cached, written, thinking, answer = MONEY[row["model"]]
    uncached = row["prompt_tokens"] - row["cached_tokens"] - row["cache_write_tokens"]
    return 1e-6 * (
        plain * uncached
        + cached * row["cached_tokens"]
        + written * row["cache_write_tokens"]
        + thinking * row["thinking_tokens"]
        + answer * (row["answer_tokens"] + (row["unsplit_tokens"] or 0))
    )


def by_hand(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """MEASURES of each conversation."""
    found: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(MEASURES)))
    for row in rows:
        everything = row["prompt_tokens"] + row["thinking_tokens"] + row["answer_tokens"]
        everything += row["unsplit_tokens"] or 0
        found[row["conversation"]] += [
            1, row["thinking_tokens"], everything, row["seconds"], cost(row),
        ]  # fmt: skip
    return found


def told(engine: Engine, selection: Selection | None = None) -> dict[str, Any]:
    with snapshot(engine) as connection:
        chosen = selection or Selection()
        return {
            "conversations": whole_conversations(connection, chosen, PRICES),
            "loops": loop_report(loop_sums(connection, chosen)),
        }


@pytest.mark.parametrize("summed", [0, 250, 2_000])
def test_figures_are_those_of_brute_force(engine: Engine, summed: int) -> None:
    rows = rows_of_conversations()
    scores = scored(rows)
    fill(engine, rows, scores)
    if summed:
        for _ in range(1 if summed < 1_000 else 4):
            add_new(engine, summed)
        if summed < 1_000:  # PostgreSQL adds at the second call
            add_new(engine, summed)
    found = told(engine)["conversations"]
    each = by_hand(rows)
    arm = {row["conversation"]: row["arm"] or "explicit" for row in rows}
    score = {row["conversation"]: row["score"] for row in scores}
    assert found["conversations"] == {
        name: sum(of == name for of in arm.values()) for name in ("explicit", "holdout", "treated")
    }
    for at, name in enumerate(MEASURES):
        treated = [each[key][at] for key, of in arm.items() if of == "treated"]
        held = [each[key][at] for key, of in arm.items() if of == "holdout"]
        entry = found["per_conversation"][name]
        assert entry["taken"] == pytest.approx(np.mean(treated))
        assert entry["baseline"] == pytest.approx(np.mean(held), rel=0.05)
        low, high = entry["saved_ci"]
        assert low < entry["saved"] < high
        assert found["total"][name] == pytest.approx(sum(of[at] for of in each.values()))
        solved = found["per_solved"][name]
        for arm_name, figure in (("treated", "taken"), ("holdout", "baseline")):
            keys = [key for key, of in arm.items() if of == arm_name and key in score]
            ratio = sum(each[key][at] for key in keys) / sum(score[key] for key in keys)
            assert solved[figure] == pytest.approx(ratio)
            assert solved[f"{figure}_ci"][0] < ratio < solved[f"{figure}_ci"][1]
        assert solved["share"] == pytest.approx(1 - solved["taken"] / solved["baseline"])
        assert solved["share_ci"][0] < solved["share"] < solved["share_ci"][1]


def test_a_selection_has_the_conversations_that_began_in_it(engine: Engine) -> None:
    rows = rows_of_conversations(120)
    fill(engine, rows, [])
    for _ in range(4):
        add_new(engine)
    since = START + 60.5 * 600
    found = told(engine, Selection(since, key="k"))["conversations"]
    of = [row for row in rows if row["at"] >= since and row["key"] == "k"]
    assert sum(found["conversations"].values()) == len({row["conversation"] for row in of})
    assert found["total"]["thinking_tokens"] == sum(row["thinking_tokens"] for row in of)
    assert found["solved"] is None


def test_turns_of_loops_are_counted_and_averaged(engine: Engine) -> None:
    rows = rows_of_conversations(200)
    for row in rows[:40]:
        row["loop_turn"] = 15
    fill(engine, rows, [])
    before = told(engine)["loops"]
    for _ in range(4):
        add_new(engine)
    since = START + 30.5 * 600
    for selection in (Selection(), Selection(since)):
        found = told(engine, selection)["loops"]
        if selection.since is None:
            for entry, earlier in zip(found, before, strict=True):
                assert entry["mean"] == pytest.approx(earlier["mean"])
                assert entry | {"mean": 0} == earlier | {"mean": 0}
        of = [
            row
            for row in rows
            if row["loop_turn"] and row["status"] == 200 and row["at"] >= (selection.since or 0)
        ]
        assert sum(entry["requests"] for entry in found) == len(of)
        second = next(e for e in found if (e["turn"], e["arm"]) == ("2", "treated"))
        own = [row for row in of if row["loop_turn"] == 2 and row["arm"] == "treated"]
        assert second["requests"] == second["efforts"]["low"] == len(own)
        mean = np.mean([row["thinking_tokens"] for row in own])
        assert second["mean"]["thinking_tokens"] == pytest.approx(mean)
    assert "11-20" in {entry["turn"] for entry in before}


def test_money_adds_up_in_any_order(engine: Engine) -> None:
    rows = rows_of_conversations()
    fill(engine, rows, [])
    for _ in range(4):
        add_new(engine)
    assert PRICES is not None
    with snapshot(engine) as connection:
        spent = spending(read_totals(connection, Selection()), PRICES)
        total = sum(map(cost, rows))
        per_conversation = whole_conversations(connection, Selection(), PRICES)["total"]
        per_key = [
            whole_conversations(connection, Selection(key=key), PRICES)["total"]["money"]
            for key in ("k", "other")
        ]
    assert spent["total"] == pytest.approx(total)
    assert per_conversation["money"] == pytest.approx(total)
    assert sum(per_key) == pytest.approx(total)
    assert sum(spent["money"].values()) == pytest.approx(total)
    for groups in spent["by"].values():
        assert sum(groups.values()) == pytest.approx(total)
    small = sum(cost(row) for row in rows if row["model"] == "small")
    assert spent["by"]["model"]["small"] == pytest.approx(small)


def test_a_model_without_a_price_is_named(engine: Engine) -> None:
    fill(engine, rows_of_conversations(20), [])
    prices = Prices.of((PriceSettings(model="m", input=1, answer=1),), None)
    with snapshot(engine) as connection:
        spent = spending(read_totals(connection, Selection()), prices)
    assert spent["unpriced_models"] == ["small"]
    assert spent["by"]["model"]["small"] == 0


def test_the_command_prints_conversations_turns_and_money(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    if engine.dialect.name != "sqlite":
        pytest.skip("the command is the same")
    rows = rows_of_conversations()
    fill(engine, rows, scored(rows))
    url = engine.url.render_as_string(hide_password=False)
    assert "conversations" not in query(url, Selection(), PRICES, {})
    document = query(url, Selection(), PRICES, {}, conversations=True)
    text = text_report(document)
    assert "conversations: 9 explicit, " in text
    assert "per solved conversation: " in text
    assert "without a price" not in text
    words = ["savings", "--ledger", url, "--completion-price", "3", "--conversations"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    for line in ("thinking tokens", "turns of tool loops", "  2      treated", "money spent"):
        assert line in printed
    assert document["savings"]["money"]["taken"] > 0


def test_without_requests_nothing_is_told(engine: Engine) -> None:
    found = told(engine)
    assert found["loops"] == []
    assert found["conversations"]["mean"] is None
    assert found["conversations"]["per_conversation"]["money"]["pending"]
    with snapshot(engine) as connection:
        assert spending(read_totals(connection, Selection()), PRICES)["total"] == 0


def test_the_ratio_has_the_interval_of_its_definition() -> None:
    rng = np.random.default_rng(2)
    cost_, solved = rng.lognormal(5, 1, 80), (rng.random(80) < 0.6).astype(float)
    weights = rng.uniform(1, 3, 80)
    of = pair(cost_, solved, weights)
    ends = of.interval(-2.0, 2.0)
    assert ends is not None
    for end, sign in zip(ends, (-1, 1), strict=True):
        residual = weights * (end * solved - cost_)
        error = residual.sum() / np.sqrt(len(residual) * residual.var(ddof=1))
        assert error == pytest.approx(2 * sign)
    assert pair(cost_, np.zeros(80), weights).interval(-2.0, 2.0) is None


def test_it_is_pending_with_few_held_out_and_right_with_one_arm(engine: Engine) -> None:
    rows = [row for row in rows_of_conversations(60) if row["arm"] == "treated"]
    fill(engine, rows, scored(rows))
    found = told(engine)["conversations"]
    assert found["per_conversation"]["turns"]["pending"]
    assert found["per_conversation"]["turns"]["baseline"] is None
    assert found["per_solved"]["money"]["pending"]
