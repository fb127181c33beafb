"""The watch over the engines: what it reports, how often, and that nothing ends it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from server.engines import health
from server.engines.budget_support import UNKNOWN, BudgetSupport
from server.engines.dialect import DIALECTS
from server.engines.engine import Engine, NoModels
from server.engines.health import Health
from server.engines.model_info import ModelInfo
from server.observe.metrics import Metrics

PROVEN = BudgetSupport("native", True, "it held")
MODEL = (ModelInfo("m", 4096),)
CHECKS = 200

Answers = Callable[[int], tuple[ModelInfo, ...]]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_UP_SECONDS", "_DOWN_SECONDS"):
        monkeypatch.setattr(health, name, 0.0)


def watched(
    models: Answers, supports: Callable[[], BudgetSupport] = lambda: PROVEN, model: str | None = "m"
) -> tuple[Health, list[Any]]:
    """A watch after `CHECKS` checks of an engine with these answers, and what it logged."""
    engine = Engine("http://user:secret@127.0.0.1:9/v1", None, 1)
    watch = Health([engine], DIALECTS["vllm"], model, "high", Metrics())
    checks = 0
    done = asyncio.Event()

    async def listed() -> tuple[ModelInfo, ...]:
        nonlocal checks
        checks += 1
        if checks >= CHECKS:
            done.set()
        return models(checks)

    async def canary(*_: object) -> BudgetSupport:
        return supports()

    async def run() -> None:
        engine.models = listed
        watch._run_canary = canary
        with watch.watching():
            await asyncio.wait_for(done.wait(), 30)

    with capture_logs() as logs:
        asyncio.run(run())
    return watch, logs


def fail(error: Exception) -> tuple[ModelInfo, ...]:
    raise error


def test_a_missing_engine_is_reported_with_a_reason_and_not_at_every_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "_WARNING_DELAY_SECONDS", 0.0)
    _, logs = watched(lambda _: fail(NoModels("Connection refused")))
    (warning,) = logs
    assert warning["event"] == "no engine answers at http://127.0.0.1:9/v1; waiting for it"
    assert warning["reason"] == "Connection refused"
    assert warning["log_level"] == "warning"


def test_an_outage_is_reported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_WARNING_DELAY_SECONDS", 0.0)
    monkeypatch.setattr(health, "_WARNING_SECONDS", 0.0)
    _, logs = watched(lambda _: fail(NoModels("Connection refused")))
    assert len(logs) >= CHECKS - 1


def test_an_engine_with_other_models_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_WARNING_DELAY_SECONDS", 0.0)
    _, logs = watched(lambda _: MODEL, model="other")
    assert logs[0]["reason"] == "it does not serve the model other, but m"


def test_an_unexpected_failure_marks_the_engine_down_and_the_watch_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "_WARNING_DELAY_SECONDS", 0.0)
    broken = range(10, 20)
    watch, logs = watched(
        lambda check: fail(OSError("no space left")) if check in broken else MODEL
    )
    assert watch.up
    events = [line["event"] for line in logs]
    assert events == ["engine up", "engine down", "the health check failed", "engine up"]


def test_a_canary_without_an_answer_is_repeated_and_reported_ever_less_often() -> None:
    probes: list[int] = []

    def unknown() -> BudgetSupport:
        probes.append(1)
        return UNKNOWN

    watch, logs = watched(lambda _: MODEL, unknown)
    assert watch.up
    assert len(probes) == 1
    (up,) = logs
    assert (up["event"], up["log_level"]) == ("engine up", "warning")
