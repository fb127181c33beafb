"""Reads a request's body within limits of size and time, and parses it as a JSON object."""

from typing import Any

from starlette.types import Receive

from server.errors import BadRequest, BodyTimeout, BodyTooLarge
from server.http.disconnect import ClientDisconnected
from server.http.json_codec import JSONError, loads
from server.http.timeouts import TimeoutPool


class BodyReader:
    """Reads the JSON bodies of requests.

    Args:
        max_bytes: the largest body that is accepted.
        timeout_seconds: time in which a body must be complete.
    """

    def __init__(self, max_bytes: int, timeout_seconds: float) -> None:
        self._max_bytes, self._timeout_seconds = max_bytes, timeout_seconds
        self._timeouts = TimeoutPool(timeout_seconds)

    async def read(self, receive: Receive) -> dict[str, Any]:
        """The request's JSON object.

        Raises:
            BodyTooLarge: more bytes arrive.
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
        try:
            body = loads(raw)
        except JSONError as error:
            raise BadRequest(f"the request body is not valid JSON: {error}") from None
        if not isinstance(body, dict):
            raise BadRequest("the request body must be a JSON object")
        return body  # pyright: ignore[reportUnknownVariableType]


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
