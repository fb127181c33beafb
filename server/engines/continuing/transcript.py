"""The events of a stream, kept until its answer begins.

Most of them differ in the text of a thought only. Those are kept as that text, a fifth of the
memory, and are known to be nothing else without a search in them.
"""

import re

_THOUGHT = re.compile(rb'"(?:reasoning|reasoning_content|thinking|delta)":\s*"([^"\\]*)"')
_TEXT = re.compile(rb'[^"\r\n]*')


class Transcript:
    """Complete events in their order; `count` is their number."""

    def __init__(self) -> None:
        self.count = 0
        self._head: bytes | tuple[()] = ()
        self._tail = b""
        self._runs: list[tuple[bytes, bytes, list[bytes]]] = []
        self._texts: list[bytes] = []

    def add_thought(self, chunk: bytes) -> bool:
        """Add a chunk that is one event of the last one's shape; False where it is anything else.

        An escaped quotation mark is one as well: nothing but the text can have changed without one.
        """
        start, end = len(self._head), len(chunk) - len(self._tail)
        if (
            chunk.startswith(self._head)  # an empty tuple matches nothing
            and chunk.endswith(self._tail)
            and _TEXT.fullmatch(chunk, start, end)
        ):
            self.count += 1
            self._texts.append(chunk[start:end])
            return True
        return False

    def add(self, events: bytes, is_thought: bool = False) -> None:
        """Add complete events; whether the text of a thought in them may be learned as a shape."""
        self.count += events.count(b"\n\n")
        thought = _THOUGHT.search(events) if is_thought else None
        if thought is None or events.find(b"\n\n") != len(events) - 2:
            self._head, self._tail = (), b""
            self._runs.append((events, b"", [b""]))
            return
        self._head, self._tail = events[: thought.start(1)], events[thought.end(1) :]
        self._texts = [thought[1]]
        self._runs.append((self._head, self._tail, self._texts))

    def replace_last(self, last: bytes, events: bytes) -> None:
        """Put `events` in the place of those that were added last."""
        self.count -= last.count(b"\n\n")
        self._runs[-1][2].pop()
        self.add(events)

    def events(self) -> bytes:
        return b"".join(head + text + tail for head, tail, texts in self._runs for text in texts)
