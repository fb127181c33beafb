"""The memory of conversations: bounded, least recently used first out."""

from server.decide.conversations import Conversations


def test_the_effort_of_the_latest_turn_is_remembered() -> None:
    conversations = Conversations()
    assert conversations.effort("a") is None
    conversations.remember("a", "low")
    conversations.remember("a", "high")
    assert conversations.effort("a") == "high"


def test_beyond_capacity_the_least_recently_used_is_forgotten() -> None:
    conversations = Conversations(capacity=2)
    conversations.remember("a", "low")
    conversations.remember("b", "medium")
    conversations.remember("a", "low")
    conversations.remember("c", "high")
    assert [conversations.effort(name) for name in "abc"] == ["low", None, "high"]
