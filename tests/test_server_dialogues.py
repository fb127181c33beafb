"""Dialogues through the decider with the demo's router: effort does not fall from turn to turn."""

import pytest
from dialogue import Dialogues, assistant, user
from paths import ROOT

from models.domain.stories import stories
from router.router import Router
from server.config.settings import Settings
from server.decide.decider import Decider
from server.decide.decision import Decision

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
def dialogues() -> Dialogues:
    return Dialogues(Decider(Settings(model="m"), ROUTER))


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
    dialogues: Dialogues, reply: str
) -> None:
    plan = "I have a plan. Shall I go on?"
    question = dialogues.turn([user(HARD)], plan)
    assert question.effort == "high"
    messages = [user(HARD), assistant(plan), user(reply)]
    assert rank(dialogues.turn(messages)) >= rank(question)


@pytest.mark.parametrize("reply", FOLLOW_UPS)
def test_a_follow_up_is_judged_with_its_question_by_a_gateway_without_memory(
    dialogues: Dialogues, reply: str
) -> None:
    """As after a restart, or when another gateway had the question."""
    follow_up = dialogues.turn([user(HARD), assistant("Shall I?"), user(reply)])
    assert follow_up.effort == "high"


def test_effort_rises_with_a_harder_question_and_does_not_fall_with_an_easier_one(
    dialogues: Dialogues,
) -> None:
    messages = [user(EASY)]
    efforts = [rank(dialogues.turn(messages, "The answer is 42."))]
    for question in (HARD, EASY, "thanks"):
        messages = [*messages, assistant("The answer is 42."), user(question)]
        efforts.append(rank(dialogues.turn(messages, "The answer is 42.")))
    assert efforts[0] < efforts[1] == efforts[2] == efforts[3]


def test_a_tool_loop_keeps_the_effort_it_began_with(dialogues: Dialogues) -> None:
    messages = [user(EASY)]
    calling = assistant(None, tool_calls=[CALL])
    begun = dialogues.turn(messages, calling)
    for result in (HARD, "{}", EASY):
        answered = {"role": "tool", "tool_call_id": "c1", "content": result}
        messages = [*messages, calling, answered]
        turn = dialogues.turn(messages, calling)
        assert (turn.effort, turn.source) == (begun.effort, "pinned")


def test_an_explicit_effort_wins_in_the_middle_of_a_dialogue(dialogues: Dialogues) -> None:
    messages = [user(HARD)]
    dialogues.turn(messages, "Shall I?")
    messages = [*messages, assistant("Shall I?"), user("yes")]
    chosen = dialogues.turn(messages, reasoning_effort="low")
    assert (chosen.effort, chosen.source) == ("low", "request")
    assert dialogues.turn(messages).effort == "high"


def test_another_conversation_does_not_inherit_the_effort(dialogues: Dialogues) -> None:
    dialogues.turn([user(HARD)], "The answer is 42.")
    assert rank(dialogues.turn([user(EASY)])) < LADDER.index("high")
