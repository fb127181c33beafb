"""Read a request's body within bounds of size and time, and parse it as a JSON object."""

import asyncio
from typing import Any

import orjson
from starlette.types import Receive

from server.disconnect import ClientDisconnected
from server.errors import BadRequest, BodyTimeout, BodyTooLarge


async def read_object(receive: Receive, most_bytes: int, seconds: float) -> dict[str, Any]:
    """The request's JSON object.

    Raises:
        BodyTooLarge: more than `most_bytes` arrive.
        BodyTimeout: the body is not complete after `seconds`.
        BadRequest: it is not JSON, or not an object.
        ClientDisconnected: the client left while sending.
    """
    try:
        async with asyncio.timeout(seconds):
            raw = await _read(receive, most_bytes)
    except TimeoutError:
        raise BodyTimeout(
            f"the request body was not complete after {seconds:g} seconds; send it again"
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
