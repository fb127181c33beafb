import pytest

from router.messages import read_messages


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("hi", "hi"),
        (None, ""),
        (["a", "b"], "a\nb"),
        ([{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}], "a\nb"),
        ([{"type": "tool_result", "content": [{"type": "text", "text": "c"}]}], "c"),
        ([{"type": "thinking", "thinking": "private"}, {"type": "text", "text": "a"}], "a"),
    ],
)
def test_text_is_read_from_every_content_format(content: object, text: str) -> None:
    conversation = read_messages([{"role": "user", "content": content}])
    assert conversation.turns[0].text == text
    assert conversation.unreadable is None


@pytest.mark.parametrize(
    "messages",
    [
        None,
        7,
        {"role": "user", "content": "hi"},
        ["hi"],
        [{"role": "user", "content": 7}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}],
        [{"role": "user", "content": [{"type": "input_audio"}, "and text"]}],
        [{"role": "user", "content": [{}]}],
    ],
)
def test_content_that_is_not_text_is_named(messages: object) -> None:
    assert read_messages(messages).unreadable


def test_deep_nesting_is_named_and_not_followed() -> None:
    content = "x"
    for _ in range(5000):
        content = [content]
    assert "nested" in (read_messages([{"role": "user", "content": content}]).unreadable or "")


def test_a_plain_string_is_a_user_message() -> None:
    assert read_messages("hi") == read_messages([{"role": "user", "content": "hi"}])
