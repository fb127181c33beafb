"""Reasoning under both of its names, however its bytes arrive."""

import json
from typing import Any

import pytest

from server.api.chat import error_event
from server.api.completion_relay import ChatRelay
from server.api.reasoning_copy import copy_in_answer
from server.http.sse import DONE, encode

TEXTS = ["so", " we", ' say "x"', "\n\\ é \u2028", '"reasoning":"y"', "end", " of", " it"]


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return encode({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def stream(field: str = "reasoning") -> bytes:
    thoughts = [chunk({field: text}) for text in TEXTS]
    answers = [chunk({"content": text}) for text in TEXTS]
    spaced = chunk({field: "last"}).replace(b'":"', b'": "')
    return b"".join([*thoughts, spaced, *answers, chunk({}, "stop"), DONE])


def relayed(blocks: list[bytes], copies: bool = True) -> list[dict[str, Any]]:
    relay = ChatRelay(1, False, lambda _: {}, error_event)
    relay.copies_reasoning = copies
    events = b"".join([*map(relay.feed, blocks), relay.finish()]).split(b"\n\n")
    chunks = [json.loads(event[6:]) for event in events if b"{" in event]
    return [part["choices"][0]["delta"] for part in chunks]


@pytest.mark.parametrize("size", [1, 7, 100, 131, 10_000])
def test_streamed_reasoning_has_both_names_wherever_it_is_cut(size: int) -> None:
    whole = stream()
    deltas = relayed([whole[at : at + size] for at in range(0, len(whole), size)])
    thoughts = [delta for delta in deltas if "reasoning" in delta]
    assert [delta["reasoning"] for delta in thoughts] == [*TEXTS, "last"]
    assert [delta["reasoning_content"] for delta in thoughts] == [*TEXTS, "last"]
    assert [delta["content"] for delta in deltas if "content" in delta] == TEXTS


def test_event_by_event_the_fast_path_copies_too() -> None:
    events = [event + b"\n\n" for event in stream().split(b"\n\n") if event]
    thoughts = [delta for delta in relayed(events) if "reasoning" in delta]
    assert all(delta["reasoning"] == delta["reasoning_content"] for delta in thoughts)
    assert len(thoughts) == len(TEXTS) + 1


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_nothing_else_is_copied(field: str) -> None:
    deltas = relayed([stream(field)], copies=field == "reasoning_content")
    other = {"reasoning", "reasoning_content"} - {field}
    assert not any(other & set(delta) for delta in deltas)


def test_a_whole_answer_has_both_names() -> None:
    answer = {"choices": [{"message": {"content": "4", "reasoning": "2+2"}}, {"message": None}, 5]}
    copied = copy_in_answer(answer)["choices"]
    assert copied[0]["message"] == {
        "content": "4",
        "reasoning": "2+2",
        "reasoning_content": "2+2",
    }
    assert copied[1:] == [{"message": None}, 5]
    for message in ({"reasoning": None}, {"reasoning_content": "x"}, {"content": "4"}):
        assert copy_in_answer({"choices": [{"message": message}]})["choices"] == [
            {"message": message}
        ]
    assert copy_in_answer({"error": 1}) == {"error": 1}
