"""JSON that passes through: what is kept, what is refused, how it is counted."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scalars import SCALARS

from server.http import json_size
from server.http.json_codec import MAX_DEPTH, JSONError, dumps, loads, loads_lenient
from server.http.json_size import exceeds

TEXTS = st.text(SCALARS)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda values: st.lists(values) | st.dictionaries(TEXTS, values),
    max_leaves=20,
)


@given(VALUES | st.integers(min_value=-(10**300), max_value=10**300))
@settings(max_examples=100, deadline=None)
def test_what_is_read_is_what_was_written(value: Any) -> None:
    text = json.dumps(value)
    assert loads(text.encode()) == json.loads(text)
    assert json.loads(dumps(loads(text.encode()))) == json.loads(text)


@pytest.mark.parametrize("core", ["1", str(2**64), '{"a":[]}'])
def test_nesting_is_kept_as_deep_as_it_is_read(core: str) -> None:
    levels = MAX_DEPTH - core.count("{") - core.count("[")
    raw = (levels * "[" + core + levels * "]").encode()
    assert dumps(loads(raw)) == raw
    with pytest.raises(JSONError, match="1024 levels"):
        loads(b"[" + raw + b"]")


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"{", b"NaN", b"\xff", b'"\\ud800"', b"1" * 400, b'{"a":1,}', b"'a'"),
        *(b"[NaN, 18446744073709551616]", b'["\\ud800", 18446744073709551616]'),
    ],
)
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(JSONError):
        loads(raw)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"content": "\\ud83d"}', {"content": "\ud83d"}),
        (b'{"logprob": -Infinity, "text": "\\ud83d"}', {"logprob": None, "text": "\ud83d"}),
        (b'{"text": "a\x01b\nc"}', {"text": "a\x01b\nc"}),
        (b'\xef\xbb\xbf{"a": 1}\n', {"a": 1}),
        (b'["\\ud83d", 18446744073709551616]', ["\ud83d", 2**64]),
    ],
)
def test_json_of_engines_is_read_as_their_clients_read_it(raw: bytes, value: Any) -> None:
    assert loads_lenient(raw) == value
    assert json.loads(dumps(value)) == value


def test_json_of_engines_has_limits_too() -> None:
    for raw in (b"", b"[DONE]", b"{", b"[" * 2000 + b"]" * 2000, b'{"a": "\xff"}', b"{'a': 1}"):
        with pytest.raises(JSONError):
            loads_lenient(raw)


def tally(value: Any) -> tuple[int, int]:
    """Values and containers, as `exceeds` counts them."""
    if not isinstance(value, list | dict):
        return 0, 0
    parts = [tally(part) for part in (value if isinstance(value, list) else value.values())]
    values = 1 + max(len(value) - 1, 0) + sum(part[0] for part in parts)
    return values, 1 + sum(part[1] for part in parts)


@pytest.mark.slow
@given(VALUES, st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_the_count_is_exact_whatever_the_texts_hold(value: Any, piece: int) -> None:
    raw = json.dumps({"text": '\\",[{', "value": value}).encode()
    values, containers = tally(json.loads(raw))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_size, "_PIECE_BYTES", piece)
        assert not exceeds(raw, values, containers)
        assert exceeds(raw, values - 1, containers)
        assert exceeds(raw, values, containers - 1)
