"""Responses in as few writes as possible: uvicorn checks and copies each header by itself.

Uses private parts of uvicorn, as `server.http.connection` does.
"""

from collections.abc import Callable, Sequence

from uvicorn.protocols.http.httptools_impl import (
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

WriteChunk = Callable[[bytes], bool]
"""Writes a chunk of a response's body; False, and nothing, while the client reads too slowly."""

BeginResponse = Callable[[int, Sequence[tuple[bytes, bytes]], bytes | None], WriteChunk | None]
"""Sends a status, headers, whose names are valid and in lower case, and the body.

The body of a response in chunks, which has no `content-length`, is None here: what is returned
writes them, and ASGI's `send` does and ends the response. None where nothing was sent, since the
client is gone or reads too slowly: `send` is for all of the response then.
`server.http.connection` has one for each request, as `scope["state"]["begin_response"]`."""


def begin_response(
    response: Callable[[], RequestResponseCycle | None],
    status: int,
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes | None,
) -> WriteChunk | None:
    """See BeginResponse.

    `response` is a weak reference: the response has the scope, whose state has this function.

    Raises:
        RuntimeError: a value has a control character.
    """
    cycle = response()
    if cycle is None or cycle.disconnected or cycle.flow.write_paused:
        return None
    lines = [*map(b": ".join, (*cycle.default_headers, *headers))]
    if HEADER_VALUE_RE.search(b"".join(lines)):
        raise RuntimeError("invalid header value")
    if not cycle.keep_alive:
        lines.append(b"connection: close")
    if body is None:
        lines.append(b"transfer-encoding: chunked")
    cycle.response_started, cycle.waiting_for_100_continue = True, False
    cycle.chunked_encoding, cycle.expected_content_length = body is None, 0
    cycle.transport.write(STATUS_LINE[status] + b"\r\n".join((*lines, b"", body or b"")))
    if body is not None:
        _end(cycle)
    return _chunk_writer(cycle)


def _end(cycle: RequestResponseCycle) -> None:
    """What uvicorn does once a body is complete."""
    cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


def _chunk_writer(cycle: RequestResponseCycle) -> WriteChunk:
    flow, write = cycle.flow, cycle.transport.write

    def write_chunk(body: bytes) -> bool:
        if flow.write_paused:
            return False
        if not cycle.disconnected:
            write(b"%x\r\n%b\r\n" % (len(body), body))
        return True

    return write_chunk
