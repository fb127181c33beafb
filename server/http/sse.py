"""Server-sent events, as the HTML standard has them: cut out of a stream, parsed, written.

https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6. More lenient in one
point: an event that lacks only its blank line at the end of the stream is not lost.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, cast

from server.errors import EngineFailed
from server.http.json_codec import JSONError, dumps, loads_lenient

DONE = b"data: [DONE]\n\n"
"""The event that ends a stream of Chat Completions."""

MAX_EVENT_BYTES = 2**24
"""Bytes without a blank line after which a stream is refused: no answer's event is so long."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventBuffer:
    """Cuts a stream, which arrives in segments of any size, into complete events.

    Lines may end with CR, LF or CRLF; those of the events that are returned end with LF. The work
    per segment depends on the segment's length only.
    """

    def __init__(self) -> None:
        self._partial = bytearray()
        self._is_after_return = False
        self._beginning: bytes | None = b""
        """The part of a byte order mark that the stream began with; None once that is settled."""

    @property
    def is_empty(self) -> bool:
        """Whether no event is incomplete."""
        return not self._partial

    @property
    def is_between_events(self) -> bool:
        """Whether the next segment begins a new event, without the LF of a line that has ended."""
        return not (self._partial or self._is_after_return)

    def feed(self, segment: bytes) -> bytes:
        """The events that are complete with this segment; may be empty.

        Raises:
            EngineFailed: an event is too long.
        """
        if self._beginning is not None:
            segment = self._without_mark(self._beginning + segment)
        if self._is_after_return or segment.find(b"\r") >= 0:
            segment = self._with_line_feeds(segment)
        if not self._partial and segment.endswith(b"\n\n"):
            return segment
        end = segment.rfind(b"\n\n") + 2
        if end == 1:  # not found
            end = int(self._partial.endswith(b"\n") and segment.startswith(b"\n"))
        if not end:
            self._keep(segment)
            return b""
        events = bytes(self._partial) + segment[:end]
        self._partial.clear()
        self._keep(segment[end:])
        return events

    def take_incomplete(self) -> bytes:
        """The incomplete event at the end of the stream, completed; empty if there is none."""
        rest = bytes(self._partial)
        self._partial.clear()
        return rest and rest.rstrip(b"\n") + b"\n\n"

    def _keep(self, segment: bytes) -> None:
        self._partial += segment
        if len(self._partial) > MAX_EVENT_BYTES:
            self._partial.clear()
            size = f"{MAX_EVENT_BYTES // 2**20} MiB"
            raise EngineFailed(f"the engine sent an event of more than {size} in its stream")

    def _without_mark(self, beginning: bytes) -> bytes:
        if len(beginning) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(beginning):
            self._beginning = beginning
            return b""
        self._beginning = None
        return beginning.removeprefix(_BYTE_ORDER_MARK)

    def _with_line_feeds(self, segment: bytes) -> bytes:
        """A CR becomes a LF at once; the LF that may follow it in the next segment is dropped."""
        if not segment:
            return segment
        if self._is_after_return:
            segment = segment.removeprefix(b"\n")
        self._is_after_return = segment.endswith(b"\r")
        return segment.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def split(events: bytes) -> list[bytes]:
    """Complete events, each with its blank line."""
    return [event + b"\n\n" for event in events[:-2].split(b"\n\n")] if events else []


async def events(next_chunk: Callable[[], Awaitable[bytes]]) -> AsyncGenerator[bytes]:
    """The events of a stream that arrives in chunks, the last of them empty.

    Raises:
        EngineFailed: an event is too long.
    """
    buffer = EventBuffer()
    while chunk := await next_chunk():
        for event in split(buffer.feed(chunk)):
            yield event
    if (rest := buffer.take_incomplete()) and is_readable(rest):
        yield rest


def read_event(event: bytes) -> tuple[bytes, bytes | None]:
    """The name of an event, empty where it has none, and its data, None where it has none."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2:
        return b"", event[6:-2]
    name, data = b"", list[bytes]()
    for line in event.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return name, b"\n".join(data) if data else None


def parse_data(data: bytes | None) -> dict[str, Any] | None:
    """The JSON object of an event's data; None where the data is not a JSON object."""
    try:
        body = loads_lenient(data or b"")
    except JSONError:
        return None
    return cast("dict[str, Any]", body) if isinstance(body, dict) else None


def payload(event: bytes) -> dict[str, Any] | None:
    """The JSON object of an event; None where it has none."""
    return parse_data(read_event(event)[1])


def data_or_text(event: bytes, body: dict[str, Any] | None) -> dict[str, Any] | str:
    """The JSON object of an event, or its text where it has none."""
    return body or (read_event(event)[1] or b"").decode(errors="replace").strip(' "')


def is_done(event: bytes) -> bool:
    """Whether an event says that the stream is complete."""
    return event.find(b"[DONE]") >= 0 and (read_event(event)[1] or b"").strip() == b"[DONE]"


def is_readable(event: bytes) -> bool:
    """Whether an event is whole, as far as its data shows: a JSON object or [DONE]."""
    return is_done(event) or payload(event) is not None


def readable_lines(event: bytes) -> bytes:
    """The lines of data that are whole by themselves, where no blank line stood between them."""
    lines = [line + b"\n\n" for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"".join(line for line in lines if is_readable(line))


def encode(body: dict[str, Any], event: str | None = None) -> bytes:
    """An event with a JSON object as its data, and a name where the API names its events."""
    name = b"" if event is None else b"event: " + event.encode() + b"\n"
    return name + b"data: " + dumps(body) + b"\n\n"
