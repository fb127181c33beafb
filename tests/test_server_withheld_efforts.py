"""Efforts that do not do what their names say: who gets them, and who what instead."""

from typing import Any

from router.effort import Effort
from router.router import Router
from server.api.chat import parse
from server.api_keys import Caller
from server.config.settings import Settings
from server.decide.conversations import Thread
from server.decide.decider import Decider
from server.decide.decision import Decision
from server.decide.holdout import Holdout, Shares
from server.engines.effort_effects import LevelEffect
from server.engines.model_info import ModelInfo

LADDER: tuple[Effort, ...] = ("none", "low", "medium", "high")
SETTINGS = Settings(baseline_effort="medium")


def withheld(effort: Effort, stand_in: Effort) -> dict[Effort, LevelEffect]:
    detail = f"{effort} does the same as {stand_in}"
    return {effort: LevelEffect(effort, 8, 9, None, 0, "alias", stand_in, None, detail)}


def decide(
    effects: dict[Effort, LevelEffect],
    caller: Caller | None = None,
    holdout: Holdout | None = None,
    thread: Thread | None = None,
    settings: Settings = SETTINGS,
    **fields: Any,
) -> Decision:
    router = Router.without_artifact(LADDER, settings.baseline_effort)
    shares = holdout or Holdout(Shares(0, 0), b"k" * 16)
    decider = Decider(settings, router, shares, lambda: effects)
    body = {"messages": [{"role": "user", "content": "How many?"}], **fields}
    parsed = parse(body, {})
    return decider.decide(parsed, caller or Caller(), ModelInfo("m", None), thread=thread)


MEDIUM_IS_LOW = withheld("medium", "low")


def test_the_effort_that_does_the_same_stands_in_for_the_baseline_not_the_nearest() -> None:
    decided = decide(MEDIUM_IS_LOW)
    assert (decided.effort, decided.baseline_effort, decided.source) == ("low", "low", "fallback")


def test_a_fixed_policy_gets_the_effort_that_stands_in() -> None:
    fixed = Settings(baseline_effort="medium", policy="fixed")
    assert decide(MEDIUM_IS_LOW, settings=fixed).effort == "low"


def test_a_pinned_conversation_gets_the_effort_that_stands_in() -> None:
    roles = ("user", "assistant", "user")
    dialogue = [{"role": role, "content": "How many?"} for role in roles]
    thread = Thread("c" * 32, "history", "medium")
    low = Settings(baseline_effort="low")
    for stand_in in ("high", "none"):
        effects = withheld("medium", stand_in)
        decided = decide(effects, thread=thread, settings=low, messages=dialogue)
        assert (decided.effort, decided.source) == (
            ("high", "pinned") if stand_in == "high" else ("low", "fallback")
        )


def test_no_arm_draws_an_effort_that_is_withheld() -> None:
    exploring = Holdout(Shares(0.0, 0.5), b"k" * 16)
    threads = [Thread(f"{number:032}") for number in range(200)]
    drawn = {decide(MEDIUM_IS_LOW, holdout=exploring, thread=thread).effort for thread in threads}
    assert drawn == {"none", "low", "high"}


def test_a_client_gets_what_it_asks_for_with_the_effect_in_the_reason() -> None:
    decided = decide(MEDIUM_IS_LOW, reasoning_effort="medium")
    assert (decided.effort, decided.source) == ("medium", "request")
    assert decided.reason.endswith("; by measurement, medium does the same as low")


def test_a_key_that_allows_nothing_else_keeps_its_effort() -> None:
    only = Caller("only", effort_cap="medium", effort_floor="medium")
    assert decide(MEDIUM_IS_LOW, only).effort == "medium"
