"""Estimates thinking tokens from the events of a stream that ends before it reports its usage."""

import re

_THOUGHT = re.compile(
    rb'"(?:reasoning|reasoning_content|thinking)":\s*"((?:[^"\\]|\\.)+)"'
    rb'|response\.reasoning_(?:summary_)?text\.delta"[^\n]*"delta":\s*"((?:[^"\\]|\\.)+)"'
)
_BYTES_PER_TOKEN = 5
"""Of English words; an event of one token has fewer or more, and counts as one all the same."""

_MAX_TAIL = 65_536


class ThoughtMeter:
    """Counts the events with thoughts, or their text where an event has several tokens."""

    def __init__(self) -> None:
        self._events = self._bytes = 0
        self._tail = b""

    def feed(self, chunk: bytes) -> None:
        """Count the thoughts in the next bytes of the stream."""
        whole, line_end, tail = (self._tail + chunk).rpartition(b"\n")
        self._tail = tail[-_MAX_TAIL:]
        for thought in _THOUGHT.finditer(whole + line_end):
            self._events += 1
            self._bytes += len(thought[1] or thought[2])

    @property
    def tokens(self) -> int:
        """Estimate of the thinking tokens that have passed: by events or by bytes, the larger."""
        return max(self._events, self._bytes // _BYTES_PER_TOKEN)
