"""Read a request's body within bounds of size and time, and parse it as a JSON object."""

from typing import Any

import orjson
from starlette.types import Receive

from server.errors import BadRequest, BodyTimeout, BodyTooLarge
from server.http.disconnect import ClientDisconnected
from server.http.timeouts import TimeoutPool


class BodyReader:
    """Reads bodies.

    Args:
        most_bytes: the largest that is taken.
        seconds: after which one is to be complete.
    """

    def __init__(self, most_bytes: int, seconds: float) -> None:
        self._most_bytes, self._seconds = most_bytes, seconds
        self._patience = TimeoutPool(seconds)

    async def read(self, receive: Receive) -> dict[str, Any]:
        """The request's JSON object.

        Raises:
            BodyTooLarge: more bytes arrive.
            BodyTimeout: the body is not complete in time.
            BadRequest: it is not JSON, or not an object.
            ClientDisconnected: the client left while sending.
        """
        try:
            with self._patience.wait():
                raw = await _read(receive, self._most_bytes)
        except TimeoutError:
            raise BodyTimeout(
                f"the request body was not complete after {self._seconds:g} seconds; send it again"
            ) from None
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"the request body is not valid JSON: {error}") from None
        if not isinstance(body, dict):
            raise BadRequest("the request body must be a JSON object")
        return body  # pyright: ignore[reportUnknownVariableType]


async def _read(receive: Receive, most_bytes: int) -> bytes:
    blocks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        block = message.get("body", b"")
        size += len(block)
        if size > most_bytes:
            raise BodyTooLarge(f"the request body is larger than {most_bytes} bytes")
        blocks.append(block)
        if not message.get("more_body"):
            return b"".join(blocks)
