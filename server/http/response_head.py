"""The head of a response, in one piece: uvicorn checks and copies each header by itself.

Uses private parts of uvicorn, as `server.http.connection` does.
"""

from collections.abc import Callable, Sequence

from uvicorn.protocols.http.httptools_impl import (
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

BeginResponse = Callable[[int, Sequence[tuple[bytes, bytes]], int | None], None]
"""Sends a status and headers, whose names are valid and in lower case.

With them the `content-length`, which is the last argument too; None for a response in chunks.
`server.http.connection` has one for each request, as `scope["state"]["begin_response"]`."""


def begin_response(
    response: Callable[[], RequestResponseCycle | None],
    status: int,
    headers: Sequence[tuple[bytes, bytes]],
    length: int | None,
) -> None:
    """See BeginResponse; the body follows through uvicorn.

    `response` is a weak reference: the response has the scope, whose state has this function.

    Raises:
        RuntimeError: a value has a control character.
    """
    cycle = response()
    if cycle is None or cycle.disconnected:
        return
    lines = [*map(b": ".join, (*cycle.default_headers, *headers))]
    if HEADER_VALUE_RE.search(b"".join(lines)):
        raise RuntimeError("invalid header value")
    if not cycle.keep_alive:
        lines.append(b"connection: close")
    if length is None:
        lines.append(b"transfer-encoding: chunked")
    cycle.response_started, cycle.waiting_for_100_continue = True, False
    cycle.chunked_encoding, cycle.expected_content_length = length is None, length or 0
    cycle.transport.write(STATUS_LINE[status] + b"\r\n".join((*lines, b"", b"")))
