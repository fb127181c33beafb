"""Budgets of sessions: turns and thinking tokens of one conversation, over workers and restarts."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from server.api_keys import ApiKeys, Caller, digest
from server.config.api_key_settings import ApiKeySettings
from server.config.session_settings import SessionBudget
from server.errors import SessionExhausted
from server.limits.session_budgets import SessionBudgets, Used
from server.limits.session_table import TABLE_BYTES, SessionTable
from server.observe.metrics import Metrics

SESSION = "c" * 32


def budgets(table: SessionTable | None = None, used: Used | None = None) -> SessionBudgets:
    table = table or SessionTable()
    return SessionBudgets(table, table, used, Metrics())


def caller(**limits: Any) -> Caller:
    return Caller("k", session=SessionBudget(**limits))


async def turn(to: SessionBudgets, by: Caller, tokens: int, conversation: str = SESSION) -> int:
    """One turn from its admission to its end; what was left before it, -1 for no limit."""
    charge = await to.admit(by, conversation, is_known=True)
    assert charge is not None
    charge.reserve(tokens)
    charge.settle(tokens, is_turn=True)
    return -1 if charge.remaining is None else charge.remaining


def test_turns_of_a_session_end_and_those_of_another_do_not() -> None:
    async def run() -> None:
        to, by = budgets(), caller(turns=3)
        for _ in range(3):
            await turn(to, by, 10)
        with pytest.raises(SessionExhausted, match="3 turns per session") as refused:
            await turn(to, by, 10)
        headers = refused.value.headers()
        assert headers == {"x-tops-session-remaining-turns": "0", "x-should-retry": "false"}
        await turn(to, by, 10, "d" * 32)
        await turn(to, Caller("other", session=by.session), 10)
        assert await to.admit(Caller("free"), SESSION, True) is None

    asyncio.run(run())


def test_thinking_tokens_of_a_session_are_reserved_and_settled() -> None:
    async def run() -> None:
        to, by = budgets(), caller(thinking_tokens=100)
        assert await turn(to, by, 30) == 100
        first, second = [await to.admit(by, SESSION, True) for _ in range(2)]
        assert first is not None
        assert second is not None
        first.reserve(500)
        assert first.reserved == 70
        with pytest.raises(SessionExhausted, match="100 thinking tokens per session"):
            await to.admit(by, SESSION, True)
        first.settle(20, is_turn=True)
        second.settle(0, is_turn=False)
        third = await to.admit(by, SESSION, True)
        assert third is not None
        assert third.remaining == 50
        assert third.headers() == [(b"x-tops-session-remaining-thinking-tokens", b"50")]

    asyncio.run(run())


def test_a_turn_of_which_nothing_came_is_given_back() -> None:
    async def run() -> None:
        to, by = budgets(), caller(turns=1)
        charge = await to.admit(by, SESSION, True)
        assert charge is not None
        charge.settle(0, is_turn=False)
        await turn(to, by, 0)

    asyncio.run(run())


def test_over_its_budget_a_session_is_lowered_where_the_key_says_so() -> None:
    async def run() -> None:
        to, by = budgets(), caller(thinking_tokens=20, turns=9, over="lower")
        await turn(to, by, 25)
        charge = await to.admit(by, SESSION, True)
        assert charge is not None
        assert charge.is_over
        assert charge.remaining == 0
        headers = dict(charge.headers())
        assert headers[b"x-tops-session-remaining-turns"] == b"7"

    asyncio.run(run())


def test_workers_share_a_file_and_the_ledger_begins_what_none_knows(tmp_path: Path) -> None:
    file = tmp_path / "sessions.table"
    file.write_bytes(bytes(TABLE_BYTES))
    asked: list[str] = []

    async def used(conversation: str) -> tuple[float, float]:
        asked.append(conversation)
        return 2, 60

    async def run() -> None:
        one, two = (budgets(SessionTable(file), used) for _ in range(2))
        by = caller(turns=4, thinking_tokens=100)
        assert await turn(one, by, 10) == 40
        assert await turn(two, by, 10) == 30
        with pytest.raises(SessionExhausted):
            await turn(one, by, 10)
        assert asked == [SESSION]

    asyncio.run(run())


def test_the_table_forgets_the_session_that_was_used_longest_ago() -> None:
    table = SessionTable()
    for number in range(70_000):
        table.seed(f"session:{number}", 1, 1)
    known = [table.knows(f"session:{number}") for number in range(70_000)]
    assert known[-1]
    assert 0.7 < sum(known) / len(known) < 1
    assert not known[0] or sum(known[:1000]) < sum(known[-1000:])


def test_a_key_takes_the_servers_budget_where_it_has_none() -> None:
    tables = [
        ApiKeySettings(name="own", sha256=digest("own"), session_turns=2, over_session="refuse"),
        ApiKeySettings(name="plain", sha256=digest("plain")),
    ]
    keys = ApiKeys(tables, session=SessionBudget(9, 1_000, "lower"))
    found = [keys.caller({"x-api-key": name}).session for name in ("own", "plain")]
    assert found == [SessionBudget(2, 1_000, "refuse"), SessionBudget(9, 1_000, "lower")]
