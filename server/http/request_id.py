"""Gives every request an id: the client's own `x-request-id` where it is sane, else a fresh one."""

import random
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FRESH = random.Random()
"""Ids are to be distinct, not secret: asking the system for each would cost 20 us."""

_SANE = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def assign_request_id(scope: Scope) -> str:
    """The id of a request; left in `scope["state"]` too."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    text = given.decode("latin-1")
    request_id = text if _SANE.fullmatch(text) else f"req_{_FRESH.getrandbits(96):024x}"
    scope.setdefault("state", {})["request_id"] = request_id
    return request_id


class RequestId:
    """Middleware that echoes the id in the response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = assign_request_id(scope)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_id)
