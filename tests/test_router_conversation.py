from typing import Any

import pytest

from router.conversation import (
    carry,
    in_tool_loop,
    is_follow_up,
    opening_key,
    routed_text,
)
from router.messages import read_messages

LADDER = ("none", "low", "medium", "high")
HARD = (
    "Plan the migration of our billing database to the new cluster without downtime, list every "
    "step with its rollback, prove that no payment can be lost, and estimate the duration."
)


def dialogue(*texts: str) -> list[dict[str, str]]:
    """Alternating user and assistant messages."""
    return [
        {"role": ("user", "assistant")[index % 2], "content": text}
        for index, text in enumerate(texts)
    ]


@pytest.mark.parametrize(
    "follow_up",
    ["yes", "go on", "Yes, please do that.", "好的", "继续", "and the second one?", "👍"],
)
def test_a_short_follow_up_is_routed_with_the_message_before_it(follow_up: str) -> None:
    assert is_follow_up(follow_up)
    text = routed_text(read_messages(dialogue(HARD, "Shall I?", follow_up)))
    assert HARD in text
    assert follow_up in text


def test_a_long_question_is_routed_alone() -> None:
    question = HARD.replace("billing", "user")
    assert routed_text(read_messages(dialogue(HARD, "Done.", question))) == question


def test_a_yes_to_the_assistant_s_plan_is_routed_with_the_plan() -> None:
    plan = "I would " + HARD
    assert plan in routed_text(read_messages(dialogue("help me", plan, "yes")))


def test_tool_results_and_system_prompts_are_not_routed() -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": HARD},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "4,000 rows"},
    ]
    assert routed_text(read_messages(messages)) == HARD


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "tool", "content": "5"}, True),
        ({"role": "function", "content": "5"}, True),
        ({"role": "user", "content": [{"type": "tool_result", "content": "5"}]}, True),
        ({"role": "user", "content": "thanks"}, False),
        ({"role": "assistant", "content": "Let me"}, False),
    ],
)
def test_a_tool_loop_is_recognised(message: object, expected: Any) -> None:
    assert in_tool_loop([{"role": "user", "content": "hi"}, message]) is expected


@pytest.mark.parametrize(
    ("role", "previous", "decided", "expected", "pinned"),
    [
        ("user", None, "low", "low", False),
        ("user", "medium", "low", "medium", True),
        ("user", "low", "high", "high", False),
        ("user", "low", "low", "low", False),
        ("tool", "low", "high", "low", True),
        ("tool", None, "high", "high", False),
        ("user", "xhigh", "low", "low", False),  # no longer an effort of the model
    ],
)
def test_carry(
    role: object, previous: str | None, decided: str, expected: Any, pinned: bool
) -> None:
    carried = carry([{"role": role, "content": "x"}], previous, decided, LADDER)
    assert (carried.effort, carried.pinned) == (expected, pinned)


def test_equal_openings_have_one_key_and_others_another() -> None:
    opening = dialogue("What is 2 + 2?")
    later = dialogue("What is 2 + 2?", "4", "and 3 + 3?")
    assert opening_key(opening) == opening_key(later)
    assert opening_key(opening) != opening_key(dialogue("What is 2 + 3?"))
    system = [{"role": "system", "content": "be brief"}]
    assert opening_key(opening) != opening_key(system + opening)
    parts = [{"role": "user", "content": [{"type": "text", "text": "What is 2 + 2?"}]}]
    assert opening_key(opening) == opening_key(parts)
    assert opening_key([{"role": "a", "content": "bc"}]) != opening_key(
        [{"role": "ab", "content": "c"}]
    )
