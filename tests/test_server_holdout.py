"""The holdout: shares as configured, one arm per conversation, never against a client's choice."""

from collections import Counter
from typing import Any

import pytest
from dialogue import Dialogues, assistant
from test_server_decision import ABSTAINING, ANYONE, LADDER, ROUTED, SERVED, user

from router.effort import Effort
from server.api.chat import parse
from server.api_keys import Caller
from server.config.settings import Settings
from server.decide.conversations import Thread
from server.decide.decider import Decider
from server.decide.decision import Decision
from server.decide.holdout import NO_HOLDOUT, Arm, Draw, Holdout, Shares

ALL = Holdout(Shares(holdout=1.0), b"key")
EXPLORED = Holdout(Shares(explore=1.0), b"key")
THREAD = Thread("0" * 32)


def decide(
    holdout: Holdout, fields: dict[str, Any] | None = None, caller: Caller = ANYONE
) -> Decision:
    request = parse({"messages": [user()], **(fields or {})}, {})
    return Decider(Settings(), ROUTED, holdout).decide(request, caller, SERVED, thread=THREAD)


def test_arms_have_their_shares_and_are_deterministic() -> None:
    holdout = Holdout(Shares(holdout=0.1, explore=0.2), b"key")
    draws = [holdout.draw(f"c{n}", LADDER, "high") for n in range(20_000)]
    arms = Counter(draw.arm for draw in draws)
    assert arms["holdout"] / 20_000 == pytest.approx(0.1, abs=0.01)
    assert arms["explore"] / 20_000 == pytest.approx(0.2, abs=0.01)
    explored = Counter(draw.effort for draw in draws if draw.arm == "explore")
    for effort in LADDER:
        assert explored[effort] / arms["explore"] == pytest.approx(1 / len(LADDER), abs=0.03)
    again = Holdout(Shares(holdout=0.1, explore=0.2), b"key")
    assert [again.draw(f"c{n}", LADDER, "high") for n in range(20_000)] == draws
    assert draws[0].shares.treated == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("shares", "arm", "effort"),
    [
        (Shares(0.1, 0.5), "explore", "medium"),
        (Shares(0.5, 0.25), "holdout", "high"),
        (Shares(0.1, 0.1), "treated", None),
    ],
)
def test_a_draw_is_the_same_on_every_gateway(
    shares: Shares, arm: Arm, effort: Effort | None
) -> None:
    """Golden: gateways of different versions must agree."""
    drawn = Holdout(shares, b"key").draw(f"{1:032x}", LADDER, "high")
    assert drawn == Draw(arm, effort, shares, shares.explore / len(LADDER))


def test_another_key_draws_independently() -> None:
    draws = [
        [Holdout(Shares(holdout=0.5), key).draw(f"c{n}", LADDER, "high") for n in range(400)]
        for key in (b"one", b"another")
    ]
    pairs = list(zip(*draws, strict=True))
    assert 100 < sum(a.arm == b.arm for a, b in pairs) < 300


def test_the_holdout_gets_the_baseline_without_the_router_s_budget() -> None:
    decision = decide(ALL)
    assert (decision.effort, decision.source, decision.routed) == ("high", "holdout", "medium")
    assert (decision.budget, decision.budget_source) == (None, "none")
    assert decision.draw is not None
    assert decision.draw.arm == "holdout"
    reason = "high, drawn at random (holdout) so that savings can be measured"
    assert (decision.reason, decision.abstained) == (reason, None)


def test_an_abstention_is_reported_in_the_holdout_too() -> None:
    request = parse({"messages": [user()]}, {})
    decision = Decider(Settings(), ABSTAINING, ALL).decide(request, ANYONE, SERVED, thread=THREAD)
    assert (decision.source, decision.abstained) == ("holdout", "no router artifact")


def test_the_holdout_records_whether_the_router_would_have_pinned() -> None:
    calling = assistant(None, tool_calls=[{"id": "call_1"}])
    tool_loop = [user("hard"), calling, {"role": "tool", "content": "42"}]
    for holdout in (ALL, NO_HOLDOUT):
        dialogues = Dialogues(Decider(Settings(), ROUTED, holdout))
        begun = dialogues.turn(tool_loop[:1], calling)
        looped = dialogues.turn(tool_loop)
        assert (begun.pinned, looped.pinned) == (False, True)
        assert looped.routed == begun.routed
        assert (looped.source == "holdout") is (holdout is ALL)


def test_explored_conversations_get_the_effort_that_was_drawn() -> None:
    decision = decide(EXPLORED)
    assert decision.source == "holdout"
    assert decision.draw is not None
    assert decision.draw.arm == "explore"
    assert decision.draw.p_each == pytest.approx(1 / len(LADDER))


@pytest.mark.parametrize(
    "fields", [{"reasoning_effort": "low"}, {"thinking_token_budget": 50}], ids=["effort", "budget"]
)
def test_a_request_with_an_explicit_choice_has_no_arm(fields: dict[str, Any]) -> None:
    decision = decide(ALL, fields)
    assert decision.draw is None
    assert decision.source in ("request", "router")


def test_a_key_limits_the_holdout_too() -> None:
    assert decide(ALL, caller=Caller("k", effort_cap="medium")).effort == "medium"
    assert decide(ALL, caller=Caller("k", max_budget=9)).budget == 9


def test_turns_of_a_conversation_stay_in_their_arm() -> None:
    holdout = Holdout(Shares(holdout=0.5), b"key")
    dialogues = Dialogues(Decider(Settings(), ROUTED, holdout))
    arms_of_all: set[str | None] = set()
    for number in range(40):
        messages = [user(f"question {number}")]
        arms: set[str | None] = set()
        for _ in range(3):
            arms.add(dialogues.turn(messages, "so").arm)
            messages = [*messages, assistant("so"), user(f"go on with {number}")]
        assert len(arms) == 1
        arms_of_all |= arms
    assert arms_of_all == {"treated", "holdout"}


def test_without_a_conversation_each_request_is_drawn_by_itself() -> None:
    dialogues = Dialogues(Decider(Settings(), ROUTED, Holdout(Shares(holdout=0.5), b"key")))
    shots = [user("2 + 2?"), assistant("4"), user("3 + 3?"), assistant("6"), user("4 + 4?")]
    for messages in ([user("Hi")], shots):
        arms = Counter(dialogues.turn(messages).arm for _ in range(60))
        assert arms.keys() == {"treated", "holdout"}
        assert min(arms.values()) > 10
