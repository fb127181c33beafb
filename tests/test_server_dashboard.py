"""The dashboard in a real headless Chromium, over a gateway with live traffic."""

import json
import re
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from browsing import DARK, DESKTOP, PHONE, browser, check_layout, closed_pages, opened
from ledgers import connect
from playwright.sync_api import Browser, expect
from processes import serving
from sqlalchemy import insert, text
from test_server_savings_report import simulated

from models.domain.stories import stories
from server.api_keys import digest
from server.dashboard.data import DashboardData
from server.ledger.reader import Selection
from server.ledger.schema import prepare, requests
from server.savings.query import query

__all__ = ["browser", "closed_pages"]


def ask(url: str, number: int) -> None:
    source = stories(9, "test", 1, 4)
    with httpx.Client(base_url=url, timeout=60) as http:
        for _ in range(number):
            body = {"messages": [{"role": "user", "content": next(source).prompt}]}
            assert http.post("/v1/chat/completions", json=body).status_code == 200
    time.sleep(0.6)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A gateway that half of its traffic is held out at, after 90 requests."""
    ledger = f"sqlite:///{tmp_path_factory.mktemp('dashboard')}/ledger.db"
    with serving("--ledger", ledger, "--holdout-share", "0.5") as server:
        ask(server.url, 90)
        yield server.url


@pytest.mark.parametrize("kinds", [DESKTOP, DARK, PHONE], ids=["light", "dark", "phone"])
def test_the_page_shows_live_traffic(browser: Browser, live: str, kinds: dict[str, Any]) -> None:
    page, wrong = opened(browser, live, "/dashboard", **kinds)
    expect(page.locator("#requests")).to_have_text("90")
    expect(page.get_by_label("1 hour")).to_be_checked()
    numbers = [int(n) for n in page.locator("#left-out dd").all_inner_texts()]
    assert sum(numbers[:-1]) == numbers[-1] == 90
    expect(page.locator("#saved")).to_contain_text("%")
    expect(page.locator("#saved-help")).to_be_hidden()
    expect(page.locator("#accuracy")).to_have_text("no feedback")
    expect(page.locator("#tokens svg")).to_have_attribute("aria-label", re.compile("baseline was"))
    assert page.locator("#efforts svg rect").count() >= 1
    expect(page.locator("#legend")).to_contain_text("high")
    expect(page.locator("#latency")).to_contain_text("s")
    expect(page.locator("#engines")).to_contain_text("It keeps thinking budgets itself.")
    assert page.locator("#latest tbody tr").count() == 8
    page.get_by_role("button", name="Show all 25").click()
    assert page.locator("#latest tbody tr").count() == 25
    expect(page.locator("#latest .reason").nth(1)).to_contain_text(re.compile("should be|drawn at"))
    check_layout(page)
    assert wrong == []


def test_new_requests_appear_and_ranges_change(browser: Browser, live: str) -> None:
    page, wrong = opened(browser, live, "/dashboard")
    expect(page.locator("#requests")).to_have_text("90")
    ask(live, 3)
    expect(page.locator("#requests")).to_have_text("93")
    page.get_by_label("7 days").check()
    expect(page.locator("#efforts svg")).to_have_attribute("aria-label", re.compile("last 7d"))
    assert wrong == []


def test_a_gateway_that_goes_away_is_told(browser: Browser, tmp_path: Path) -> None:
    with serving("--ledger", f"sqlite:///{tmp_path}/ledger.db") as server:
        page, _ = opened(browser, server.url, "/dashboard")
        expect(page.locator("#state")).to_contain_text("as of")
        expect(page.locator("#saved")).to_have_text("pending")
        expect(page.locator("#abstentions-note")).to_have_text("No request in this time.")
        well = ("failed", "latency", "ttft", "first-answer", "statuses")
        for place in (*well, "by-effort", "latest"):
            expect(page.locator(f"#{place}")).to_contain_text("none yet")
        expect(page.locator("#in-flight")).to_have_text("0")
        page.get_by_role("link", name="What to do for savings").click()
        expect(page.locator("#pending")).to_contain_text("--holdout-share")
        expect(page.locator("#pending")).to_contain_text("abstains on every request")
        page.go_back()
        expect(page.locator("#state")).to_contain_text("as of")
    expect(page.locator("#state")).to_contain_text("The gateway does not answer.")


def test_with_api_keys_the_data_asks_for_one(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "tops.toml").write_text(f'[[keys]]\nname = "me"\nsha256 = "{digest("sesame")}"\n')
    flags = ("--config", str(tmp_path / "tops.toml"), "--ledger", f"sqlite:///{tmp_path}/ledger.db")
    with serving(*flags) as server:
        assert httpx.get(f"{server.url}/dashboard/data").status_code == 401
        page, _ = opened(browser, server.url, "/dashboard")
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Show", exact=True).click()
        expect(page.locator("#state")).to_have_text("This API key is not known here.")
        page.get_by_label("API key").fill("sesame")
        page.get_by_role("button", name="Show", exact=True).click()
        expect(page.locator("#requests")).to_have_text("0")


def test_hostile_names_are_text(browser: Browser, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = connect(url)
    prepare(engine)
    script = "<img src=x onerror=document.title='owned'>"
    rows = [
        {**row, "at": time.time() - 60, "model": script, "reason": script, "routed": "low"}
        for row in simulated(50)
    ]
    with engine.begin() as connection:
        connection.execute(insert(requests), rows)
    with serving("--ledger", url) as server:
        page, wrong = opened(browser, server.url, "/dashboard")
        expect(page.locator("#latest")).to_contain_text("onerror")
        assert page.title() == "TOPS: dashboard"
        assert wrong == []


def test_a_router_that_abstains_on_all_is_told_beside_the_saving(
    browser: Browser, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = connect(url)
    prepare(engine)
    with engine.begin() as connection:
        abstained = {"source": "fallback", "abstained": "no router artifact"}
        rows = [{**row, **abstained, "at": time.time() - 60} for row in simulated(4_000)]
        connection.execute(insert(requests), rows)
    with serving("--ledger", url) as server:
        page, wrong = opened(browser, server.url, "/dashboard")
        expect(page.locator("#saved")).to_contain_text("%")
        expect(page.locator("#saved-abstained")).to_contain_text("2,000 of the newest 2,000")
        page.get_by_role("link", name="What to do for savings").click()
        expect(page.locator("#pending")).to_contain_text("abstains on every request")
        assert wrong == []


@pytest.mark.parametrize(("rows", "is_pending"), [(40, True), (4_000, False)])
def test_the_dashboard_and_the_report_agree_on_what_is_pending(
    tmp_path: Path, rows: int, is_pending: bool
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = connect(url)
    prepare(engine)
    with engine.begin() as connection:
        connection.execute(
            insert(requests), [{**row, "at": time.time() - 60} for row in simulated(rows)]
        )
    shown = DashboardData(engine, None).read("24h", None)
    reported = query(url, Selection(), None, {})
    engine.dispose()
    assert shown["savings"]["thinking_tokens"]["pending"] is is_pending
    for name, entry in reported["savings"].items():
        assert shown["savings"][name]["pending"] is entry["pending"]
        assert shown["savings"][name]["saved"] == pytest.approx(entry["saved"])


def test_what_the_data_refuses(live: str, gateway: str) -> None:
    assert httpx.get(f"{live}/dashboard/data", params={"range": "forever"}).status_code == 400
    assert httpx.get(f"{gateway}/dashboard/data").status_code == 503
    policy = httpx.get(f"{live}/dashboard").headers["content-security-policy"]
    assert "default-src 'none'" in policy


def test_a_damaged_ledger_is_told_and_serving_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with serving("--ledger", f"sqlite:///{file}") as server:
        ask(server.url, 1)
        engine = connect(f"sqlite:///{file}")
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE requests"))
        engine.dispose()
        told = httpx.get(f"{server.url}/dashboard/data")
        assert told.status_code == 503
        assert "ledger" in json.loads(told.text)["error"]["message"]
        ask(server.url, 1)


def test_each_request_is_compared_or_left_out_for_one_reason(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = connect(url)
    prepare(engine)
    row = {**next(iter(simulated(1))), "at": time.time() - 60, "arm": "treated", "status": 200}
    odd: list[tuple[str, dict[str, Any]]] = [
        ("chosen", {"arm": None}),
        ("explored", {"arm": "explore"}),
        ("no holdout", {"p_holdout": 0.0}),
        ("uncounted", {"thinking_tokens": None}),
        ("refused", {"status": 429}),
        ("disconnected", {"status": 499}),
        ("failed", {"status": 502}),
    ]
    with engine.begin() as connection:
        connection.execute(insert(requests), [row, *({**row, **fields} for _, fields in odd)])
    told = DashboardData(engine, None).read("1h", None)["accounts"]
    engine.dispose()
    assert told["left_out"] == {name: 1 for name, _ in odd}
    assert (told["compared"], told["requests"]) == (1, 1 + len(odd))
    assert told["statuses"] == {"200": 5, "429": 1, "499": 1, "502": 1}


def test_the_baseline_s_line_is_what_was_predicted_or_else_what_was_taken(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/ledger.db")
    prepare(engine)
    row = {**next(iter(simulated(1))), "at": time.time() - 60, "status": 200, "effort": "low"}
    row |= {"thinking_tokens": 10, "baseline_tokens": 70.0, "arm": "treated"}
    rows = [
        row,
        {**row, "effort": "high", "thinking_tokens": 90, "baseline_tokens": None},  # abstained
        {**row, "effort": "high", "thinking_tokens": 80, "arm": "holdout"},
        {**row, "effort": "none", "thinking_tokens": 0, "arm": None},  # the client chose
    ]
    with engine.begin() as connection:
        connection.execute(insert(requests), rows)
    timeline = DashboardData(engine, None).read("1h", None)["timeline"]
    engine.dispose()
    assert sum(timeline["baseline_tokens"]) == 70 + 90 + 80
    assert {name: n for one in timeline["tokens"] for name, n in one.items()} == {
        "low": 10,
        "high": 170,
        "none": 0,
    }


def test_the_range_is_the_shortest_with_data(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/ledger.db")
    prepare(engine)
    data = DashboardData(engine, None)
    assert data.shortest(None) == "30d"
    row = next(iter(simulated(1)))
    for age, key, shown in ((90_000, "a", "7d"), (7_200, "b", "24h"), (60, "a", "1h")):
        with engine.begin() as connection:
            connection.execute(insert(requests), [{**row, "at": time.time() - age, "key": key}])
        assert data.shortest(None) == shown
        assert data.shortest(key) == shown
    assert data.shortest("b") == "24h"
    engine.dispose()


def test_times_and_abstentions_are_of_the_newest_requests(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/ledger.db")
    prepare(engine)
    row = {**next(iter(simulated(1))), "at": time.time() - 60, "status": 200, "key": "a"}
    row |= {"seconds": 1.0, "ttft_seconds": None, "first_answer_seconds": None}
    row |= {"budget": 9, "budget_source": "router", "budget_hit": False}
    rows = [
        {**row, "seconds": 3.0, "ttft_seconds": 0.5, "first_answer_seconds": 2.0},
        {**row, "budget_hit": True},
        {**row, "budget_source": None, "source": "request"},
        {**row, "budget_hit": None, "abstained": "no router artifact"},
        {**row, "status": 502, "seconds": 60.0, "budget_hit": True},
        {**row, "key": "b", "seconds": 9.0},
    ]
    with engine.begin() as connection:
        for one in rows:
            connection.execute(insert(requests), [one])
    told = DashboardData(engine, None).read("1h", "a")["recent"]
    engine.dispose()
    assert (told["requests"], told["seconds"]["requests"], told["seconds"]["p50"]) == (5, 4, 1.0)
    assert told["ttft_seconds"] == {"p50": 0.5, "p95": 0.5, "p99": 0.5, "requests": 1}
    assert told["first_answer_seconds"]["p99"] == 2.0
    assert told["abstentions"] == {"requests": 4, "reasons": {"no router artifact": 1}}
    assert told["budgets"] == {"router": {"answers": 3, "ended": 1, "unknown": 1}}
