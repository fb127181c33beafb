"""Dialogues through the decider with the demo's router: effort does not fall from turn to turn."""

from typing import Any

import pytest
from processes import ROOT

from models.domain.stories import stories
from router.router import Router
from server.api.chat import parse
from server.api_keys import Caller
from server.config.settings import Settings
from server.decide.decider import Decider
from server.decide.decision import Decision
from server.engines.model_info import ModelInfo

LADDER = ("none", "low", "medium", "high")
ROUTER = Router.load(ROOT / "models" / "demo" / "router.json")
HARD = next(
    story.prompt
    for story in stories(8)
    if story.difficulty == 10 and ROUTER.route(story.prompt).effort == "high"
)
EASY = "Kim has 12 pens. Kim buys 30 more pens. How many pens does Kim have now?"
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


@pytest.fixture
def decider() -> Decider:
    return Decider(Settings(), ROUTER)


def decide(decider: Decider, messages: list[dict[str, Any]], **fields: Any) -> Decision:
    request = parse({"messages": messages, **fields}, {})
    return decider.decide(request, Caller(), ModelInfo("demo", None))


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str | None, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **fields}


def rank(decision: Decision) -> int:
    return LADDER.index(decision.effort)


FOLLOW_UPS = [
    "yes",
    "Yes, please.",
    "ok go on",
    "continue",
    "sounds good, do it",
    "and then?",
    "why?",
    "are you sure?",
    "好的",
    "继续",
    "对,就这样做。",
    "👍",
]


@pytest.mark.parametrize("reply", FOLLOW_UPS)
def test_a_follow_up_to_a_hard_question_is_not_routed_below_it(
    decider: Decider, reply: str
) -> None:
    question = decide(decider, [user(HARD)])
    assert question.effort == "high"
    messages = [user(HARD), assistant("I have a plan. Shall I go on?"), user(reply)]
    assert rank(decide(decider, messages)) >= rank(question)


@pytest.mark.parametrize("reply", FOLLOW_UPS)
def test_a_follow_up_is_judged_with_its_question_by_a_gateway_without_memory(
    decider: Decider, reply: str
) -> None:
    """As after a restart, or when another gateway had the question."""
    follow_up = decide(decider, [user(HARD), assistant("Shall I?"), user(reply)])
    assert follow_up.effort == "high"


def test_effort_rises_with_a_harder_question_and_does_not_fall_with_an_easier_one(
    decider: Decider,
) -> None:
    messages = [user(EASY)]
    efforts = [rank(decide(decider, messages))]
    for question in (HARD, EASY, "thanks"):
        messages = [*messages, assistant("The answer is 42."), user(question)]
        efforts.append(rank(decide(decider, messages)))
    assert efforts[0] < efforts[1] == efforts[2] == efforts[3]


def test_a_tool_loop_keeps_the_effort_it_began_with(decider: Decider) -> None:
    messages = [user(EASY)]
    begun = decide(decider, messages)
    for result in (HARD, "{}", EASY):
        messages = [
            *messages,
            assistant(None, tool_calls=[CALL]),
            {"role": "tool", "tool_call_id": "c1", "content": result},
        ]
        turn = decide(decider, messages)
        assert (turn.effort, turn.source) == (begun.effort, "pinned")


def test_an_explicit_effort_wins_in_the_middle_of_a_dialogue(decider: Decider) -> None:
    messages = [user(HARD)]
    decide(decider, messages)
    messages = [*messages, assistant("Shall I?"), user("yes")]
    chosen = decide(decider, messages, reasoning_effort="low")
    assert (chosen.effort, chosen.source) == ("low", "request")
    assert decide(decider, messages).effort == "high"


def test_another_conversation_does_not_inherit_the_effort(decider: Decider) -> None:
    decide(decider, [user(HARD)])
    assert rank(decide(decider, [user(EASY)])) < LADDER.index("high")
