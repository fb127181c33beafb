"""What the engine generated is what is booked: usage, metrics, ledger and money agree on all of it.

Also on attempts that the client never saw: of composite efforts, and under a budget that was too
small.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from composite_router import composite_router
from ledgers import connect
from processes import Server, serving
from runaway_engine import PROMPT_TOKENS, RunawayEngine
from scripted_engine import ScriptedEngine, ask

from router.composite import Composite
from server.config.price_settings import PriceSettings
from server.ledger.selection import Selection
from server.savings.prices import Prices
from server.savings.query import query

CALLED = "runaway"
BUDGET, ANSWER = 8, 4
EASY, HARD = f"think=5 answer={ANSWER}", f"think=60 answer={ANSWER}"
TOKENS = ("prompt", "thinking", "answer")
PRICES = Prices.of(
    (
        PriceSettings(model=CALLED, input=1, thinking=10, answer=100),
        PriceSettings(model="scripted", input=2, thinking=20, answer=200),
    ),
    None,
)
RATES = {CALLED: (1e-6, 1e-5, 1e-4), "scripted": (2e-6, 2e-5, 2e-4)}

Tokens = Counter[str]


def tokens(prompt: int, thinking: int, answer: int) -> Tokens:
    return Counter(dict(zip(TOKENS, (prompt, thinking, answer), strict=True)))


def told(response: httpx.Response) -> Tokens:
    """The tokens of a client's usage, of a whole answer or a stream."""
    usage: dict[str, Any] = {}
    if response.headers["content-type"].startswith("text/event-stream"):
        for line in response.text.splitlines():
            if line.startswith("data: {"):
                usage = json.loads(line.removeprefix("data: ")).get("usage") or usage
    else:
        usage = response.json()["usage"]
    thinking = usage["completion_tokens_details"]["reasoning_tokens"]
    return tokens(usage["prompt_tokens"], thinking, usage["completion_tokens"] - thinking)


def counted(server: Server) -> Tokens:
    """The tokens of all requests in the metrics."""
    sums: Tokens = Counter()
    for line in httpx.get(f"{server.url}/metrics").text.splitlines():
        for name in TOKENS:
            if line.startswith(f"tops_{name}_tokens_total{{"):
                sums[name] += int(float(line.split()[-1]))
    return sums


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('accounts')}/ledger.db"


def composite_attempts(engine: RunawayEngine, ledger: str, router: Path) -> tuple[Tokens, ...]:
    """What the engine was made to generate, what clients were told, and what metrics have."""
    path = composite_router(router, Composite("stop", "low", BUDGET, "high"), CALLED)
    flags = ("--upstream", engine.url, "--router", path, "--ledger", ledger)
    clients: Tokens = Counter()
    with serving(*flags, "--dialect", "llama.cpp") as server:
        engine.bodies.clear()
        for script in (EASY, HARD):
            for stream in (False, True):
                body: dict[str, Any] = {"messages": [{"role": "user", "content": script}]}
                if stream:
                    body |= {"stream": True, "stream_options": {"include_usage": True}}
                answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=30)
                clients += told(answer)
        assert len(engine.bodies) == 2 + 2 * 2
        metrics = counted(server)
    first, final = tokens(PROMPT_TOKENS, BUDGET, ANSWER), tokens(PROMPT_TOKENS, 60, ANSWER)
    easy = tokens(PROMPT_TOKENS, 5, ANSWER)
    return easy + easy + first + final + first + final, clients, metrics


def retries(scripted: ScriptedEngine, ledger: str) -> tuple[Tokens, ...]:
    """The same of answers under a larger budget, and of one whose retry fails."""
    flags = ("--upstream", f"http://127.0.0.1:{scripted.port}", "--retry-budget-factor", "2.5")
    clients: Tokens = Counter()
    with serving(*flags, "--ledger", ledger) as server:
        scripted.bodies.clear()
        for script, limit in (("think", 40), ("think", 120), ("think_once", 40)):
            clients += told(ask(server, script, max_tokens=limit))
        budgets = [body["thinking_token_budget"] for body in scripted.bodies]
        metrics = counted(server)
    answered = [20, 39, 60, 20]
    assert budgets[:4] == answered
    assert len(budgets) > 4  # the last one's retry, which gets no answer
    engine = sum((tokens(3, budget, 5) for budget in answered), Tokens())
    return engine, clients, metrics


def test_engine_client_metrics_ledger_and_money_agree(
    obedient_engine: RunawayEngine, engine: ScriptedEngine, ledger: str, tmp_path: Path
) -> None:
    generated: dict[str, Tokens] = {}
    for model, (spent, clients, metrics) in (
        (CALLED, composite_attempts(obedient_engine, ledger, tmp_path / "router.json")),
        ("scripted", retries(engine, ledger)),
    ):
        assert clients == spent, model
        assert metrics == spent, model
        generated[model] = spent
    assert PRICES is not None
    document = query(ledger, Selection(), PRICES, {})  # the gateways have ended: all is written
    with connect(ledger).connect() as connection:
        columns = ", ".join(f"sum({name}_tokens)" for name in TOKENS)
        rows = connection.exec_driver_sql(
            f"SELECT model, {columns} FROM requests GROUP BY model"
        ).all()
    assert {row[0]: tokens(*row[1:]) for row in rows} == generated
    money = {
        model: sum(rate * spent[name] for rate, name in zip(RATES[model], TOKENS, strict=True))
        for model, spent in generated.items()
    }
    spending = document["spending"]
    assert spending["by"]["model"] == pytest.approx(money)
    total = sum(money.values())
    assert spending["total"] == pytest.approx(total)
    assert sum(spending["money"].values()) == pytest.approx(total)
    for groups in spending["by"].values():
        assert sum(groups.values()) == pytest.approx(total)
