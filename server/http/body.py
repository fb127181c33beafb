"""Reads a request's body within limits of size and time, and parses it as a JSON object."""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.types import Receive, Scope

from server.errors import BadRequest, BodyTimeout, BodyTooLarge
from server.http.disconnect import ClientDisconnected
from server.http.json_codec import JSONError, loads
from server.http.json_size import exceeds
from server.http.timeouts import TimeoutPool

_THREAD_BYTES = 2**20
"""Larger bodies are parsed in a thread, while the event loop goes on in between."""

VALUES_PER_CONTAINER = 20
"""An array or object takes that many times the time and memory of a number."""


class BodyReader:
    """Reads the JSON bodies of requests.

    Args:
        max_bytes: the largest body that is accepted.
        max_values: the largest number of JSON values in a body.
        timeout_seconds: time in which a body must be complete.
    """

    def __init__(self, max_bytes: int, max_values: int, timeout_seconds: float) -> None:
        self._max_bytes, self._timeout_seconds = max_bytes, timeout_seconds
        self._max_values = max_values
        self._timeouts = TimeoutPool(timeout_seconds)

    async def read(self, receive: Receive) -> dict[str, Any]:
        """The request's JSON object.

        Raises:
            BodyTooLarge: more bytes arrive, or it has more values.
            BodyTimeout: the body is not complete in time.
            BadRequest: it is not JSON, or not an object.
            ClientDisconnected: the client left while sending.
        """
        try:
            with self._timeouts.timeout():
                raw = await _read(receive, self._max_bytes)
        except TimeoutError:
            raise BodyTimeout(
                f"the request body was not complete after {self._timeout_seconds:g} seconds; "
                "send it again"
            ) from None
        if len(raw) > _THREAD_BYTES:
            body = await asyncio.to_thread(self._parse, raw)
        else:
            body = self._parse(raw)
        if not isinstance(body, dict):
            raise BadRequest("the request body must be a JSON object")
        return body  # pyright: ignore[reportUnknownVariableType]

    def _parse(self, raw: bytes) -> Any:
        max_containers = self._max_values // VALUES_PER_CONTAINER
        if len(raw) > 2 * max_containers and exceeds(raw, self._max_values, max_containers):
            raise BodyTooLarge(
                f"the request body has more than {self._max_values} JSON values, or more than "
                f"{max_containers} arrays and objects"
            )
        try:
            return loads(raw)
        except JSONError as error:
            raise BadRequest(f"the request body is not valid JSON: {error}") from None


def close_unread(scope: Scope) -> None:
    """Have the connection closed after the answer if the request's body has not arrived.

    Called before the answer begins, which then says so.
    """
    close: Callable[[], None] | None = scope["state"].get("close_unread")
    if close is not None:  # by `server.http.connection`
        close()


async def _read(receive: Receive, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLarge(f"the request body is larger than {max_bytes} bytes")
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)
