"""Trace context: valid headers of W3C Trace Context reach the engine, all others are dropped."""

import pytest

from server.http.trace_context import trace_headers

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_trace_is_passed_on_with_its_state() -> None:
    headers = [
        (b"tracestate", b"congo=t61rcWkgMzE, "),
        (b"traceparent", PARENT.encode()),
        (b"baggage", b"user=1"),
        (b"tracestate", b"rojo=00f067aa0ba902b7"),
    ]
    state = "congo=t61rcWkgMzE,,rojo=00f067aa0ba902b7"  # empty members are allowed
    assert trace_headers(headers) == {"traceparent": PARENT, "tracestate": state}


@pytest.mark.parametrize(
    ("parent", "is_valid"),
    [
        (PARENT, True),
        ("cc" + PARENT[2:], True),
        ("cc" + PARENT[2:] + "-later", True),
        (PARENT + "-later", False),
        ("ff" + PARENT[2:], False),
        (PARENT.upper(), False),
        ("00-" + 32 * "0" + PARENT[35:], False),
        (PARENT[:36] + 16 * "0" + "-01", False),
        ("", False),
        (PARENT + "\r\nx: y", False),
    ],
)
def test_only_a_valid_parent_is_passed_on(parent: str, is_valid: bool) -> None:
    headers = [(b"traceparent", parent.encode()), (b"tracestate", b"a=b")]
    assert bool(trace_headers(headers)) is is_valid


def test_two_parents_and_odd_states_are_dropped() -> None:
    assert trace_headers(2 * [(b"traceparent", PARENT.encode())]) == {}
    odd = [(b"traceparent", PARENT.encode()), (b"tracestate", b"\xff")]
    assert trace_headers(odd) == {"traceparent": PARENT}
