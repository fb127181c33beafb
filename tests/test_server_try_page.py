"""The page at `/` in a real headless Chromium: asked, compared, stopped, refused."""

import json
from collections.abc import Generator
from typing import Any

import httpx
import pytest
from browsing import DARK, DESKTOP, PHONE, browser, check_layout, closed_pages, opened
from playwright.sync_api import Browser, Page, Route, expect
from polling import PATIENCE_SECONDS
from processes import Server, serving
from scripted_engine import FINISH, ScriptedEngine, scripted_engine

from server.api_keys import digest

__all__ = ["browser", "closed_pages"]

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
HOSTILE = "<img src=x onerror=document.title='owned'>"
KEYS = f"""
[[keys]]
name = "me"
sha256 = "{digest("sesame")}"
effort_cap = "medium"
max_budget = 50
max_in_flight = 1
"""


@pytest.fixture(scope="module")
def keyed(engine: ScriptedEngine, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    folder = tmp_path_factory.mktemp("keyed")
    (folder / "tops.toml").write_text(KEYS)
    upstream = f"http://127.0.0.1:{engine.port}/v1"
    with serving("--upstream", upstream, "--config", str(folder / "tops.toml")) as server:
        yield server


def ask(page: Page, question: str) -> None:
    page.get_by_label("Question").fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()


@pytest.mark.parametrize("kinds", [DESKTOP, DARK, PHONE], ids=["light", "dark", "phone"])
def test_a_question_is_answered_and_compared_with_the_baseline(
    browser: Browser, gateway: str, kinds: dict[str, Any]
) -> None:
    page, wrong = opened(browser, gateway, "/", **kinds)
    expect(page.locator("#state")).to_have_text("demo, with a router of its own")
    page.get_by_role("button", name="Six steps").click()
    page.get_by_role("button", name="Ask", exact=True).click()
    first = page.locator("article").first
    expect(first.locator("h2")).to_have_text("mediumchosen by the router")
    expect(first.locator(".reason")).to_contain_text("Medium should be right")
    expect(first.locator(".text p")).to_have_text("The answer is 14.")
    expect(first.locator(".thoughts")).to_contain_text("73-18=55")
    expect(first.locator(".meter")).to_contain_text("fewer, by the estimate for high")
    page.get_by_role("button", name="Ask at the baseline, high, too").click()
    second = page.locator("article").last
    expect(second.locator("h2")).to_have_text("highas asked for")
    expect(second.locator(".text p")).to_contain_text("The answer is")
    expect(page.locator("#together")).to_contain_text("thinking tokens instead of")
    figures = [int(n) for n in page.locator(".meter .number").all_inner_texts()]
    thought, other = figures[0], figures[len(figures) // 2]
    assert f"{thought} thinking tokens instead of {other}" in page.locator("#together").inner_text()
    check_layout(page)
    assert wrong == []


def test_by_keyboard_with_an_effort_and_a_budget(browser: Browser, gateway: str) -> None:
    page, wrong = opened(browser, gateway, "/")
    expect(page.get_by_label("Question")).not_to_be_empty()
    names = page.locator("#effort label").all_inner_texts()
    assert names == ["auto", "none", "low", "medium", "high"]
    page.get_by_label("auto", exact=True).focus()
    for _ in ("none", "low", "medium"):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.type("3")
    page.keyboard.press("Control+Enter")
    card = page.locator("article")
    expect(card.locator("h2")).to_have_text("mediumas asked for")
    expect(card.locator(".meter")).to_contain_text("The budget ended the thinking.")
    expect(page.locator("#live")).to_contain_text("Answered in")
    page.get_by_label("Thinking tokens at most").fill("999999")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("more than the model's context of")
    assert [line for line in wrong if "400" not in line] == []


def test_an_example_never_joins_what_somebody_writes(browser: Browser, front: Server) -> None:
    page, _ = opened(browser, front.url, "/help")
    held: list[Route] = []
    page.route("**/try/data", lambda route: held.append(route))  # noqa: PLW0108 - a builtin is refused
    with page.expect_request("**/try/data"):
        page.goto(f"{front.url}/")
    page.get_by_label("Question").focus()
    held[0].continue_()
    expect(page.get_by_role("button", name="A fact")).to_be_visible()
    expect(page.get_by_label("Question")).to_have_value("")


def test_stop_ends_the_request_at_the_engine(
    browser: Browser, engine: ScriptedEngine, front: Server
) -> None:
    page, wrong = opened(browser, front.url, "/")
    for end in (
        lambda: page.get_by_role("button", name="Stop").click(),
        lambda: page.keyboard.press("Escape"),
    ):
        engine.cancelled.clear()
        ask(page, "endless")
        expect(page.locator("article .text p")).to_contain_text("xxx")
        end()
        assert engine.cancelled.wait(PATIENCE_SECONDS)
        expect(page.get_by_role("alert")).to_contain_text("Stopped.")
        expect(page.get_by_role("button", name="Ask", exact=True)).to_be_focused()
    assert wrong == []


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("refuse", "Too long. Try again in 37 seconds."),
        ("vanish", "The engine closed the connection"),
        ("die", "The engine's stream"),
    ],
)
def test_an_error_is_a_sentence(
    browser: Browser, front: Server, script: str, sentence: str
) -> None:
    page, _ = opened(browser, front.url, "/")
    ask(page, script)
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible()
    check_layout(page)


def test_an_engine_and_a_gateway_that_are_gone_are_told(browser: Browser) -> None:
    with scripted_engine() as engine:
        with serving("--upstream", f"http://127.0.0.1:{engine.port}/v1") as server:
            page, _ = opened(browser, server.url, "/")
            expect(page.locator("#state")).to_contain_text("scripted")
            engine.stop()
            ask(page, "complete")
            expect(page.get_by_role("alert")).to_contain_text("Try again in 2 seconds.")
        ask(page, "complete")
        expect(page.get_by_role("alert")).to_contain_text("The gateway does not answer.")


def test_an_answer_is_text_whatever_it_says(
    browser: Browser, engine: ScriptedEngine, front: Server
) -> None:
    choice = {"index": 0, "delta": {"reasoning": HOSTILE, "content": HOSTILE}}
    chunk = f"data: {json.dumps({'choices': [choice]})}\n\n".encode()
    engine.replies["hostile"] = HEAD + chunk + FINISH + b"data: [DONE]\n\n"
    page, wrong = opened(browser, front.url, "/")
    ask(page, "hostile")
    expect(page.locator("article .text p")).to_have_text(HOSTILE + "x")
    expect(page.locator("article .thoughts div")).to_have_text(HOSTILE)
    assert page.title() == "TOPS: try it"
    assert wrong == []


def test_with_api_keys_the_page_asks_for_one_and_offers_what_it_may(
    browser: Browser, keyed: Server
) -> None:
    assert httpx.get(f"{keyed.url}/try/data").status_code == 401
    page, _ = opened(browser, keyed.url, "/")
    for key, told in (("wrong", "not known here"), ("sesame", "scripted")):
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Go on").click()
        expect(page.locator("#state")).to_contain_text(told)
    assert page.locator("#effort label").all_inner_texts()[-1] == "medium"
    expect(page.get_by_label("Thinking tokens at most")).to_have_attribute(
        "placeholder", "up to 50"
    )
    other = page.context.new_page()
    other.goto(keyed.url)
    expect(other.locator("#state")).to_contain_text("An API key is needed.")
    ask(page, "endless")
    expect(page.locator("article .text p")).to_contain_text("xx")
    other.get_by_label("API key").fill("sesame")
    other.get_by_role("button", name="Go on").click()
    ask(other, "complete")
    expect(other.get_by_role("alert")).to_contain_text("retry when one of them has finished")


def test_the_page_is_confined_to_the_gateway(gateway: str) -> None:
    for path in ("/", "/help", "/dashboard"):
        answer = httpx.get(gateway + path)
        assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]
        assert "<script>" not in answer.text
        assert "style=" not in answer.text


def test_help_is_readable_and_names_this_gateway(browser: Browser, gateway: str) -> None:
    page, wrong = opened(browser, gateway, "/help", **PHONE)
    expect(page.locator("pre .origin")).to_have_text(f"{gateway}/v1")
    check_layout(page)
    assert wrong == []
