"""W3C Trace Context: the headers that join the engine's spans to the client's trace.

`baggage` is not passed on: its values are the client's own, and a hosted engine is a third party.
"""

import re
from collections.abc import Sequence

_TRACEPARENT = re.compile(
    rb"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    rb"(?P<later>-[ -~]{1,64})?"
)
"""Version, trace id, parent id, flags; versions after 00 may append fields."""

_TRACESTATE = re.compile(rb"[ -~\t]{1,512}")
"""Printable ASCII, of the length that everyone is to pass on."""


def trace_headers(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """`traceparent` and `tracestate` of a request; empty where `traceparent` is not valid."""
    parents = [value.strip() for name, value in headers if name == b"traceparent"]
    match = _TRACEPARENT.fullmatch(parents[0]) if len(parents) == 1 else None
    if match is None or (match["later"] and match["version"] == b"00"):
        return {}
    trace = {"traceparent": parents[0].decode()}
    state = b",".join(value.strip() for name, value in headers if name == b"tracestate")
    if _TRACESTATE.fullmatch(state):
        trace["tracestate"] = state.decode()
    return trace
