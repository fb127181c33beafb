"""A connection to an engine: aiohttp's, which does not hide what came before an error.

Uses private parts of aiohttp. tests/test_dependencies.py names them; pyproject.toml bounds the
version.
"""

import asyncio
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import _EXC_SENTINEL as _UNKNOWN  # pyright: ignore[reportPrivateUsage]

_END_OF_HEAD = b"\r\n\r\n"


class StaleConnection(aiohttp.ServerDisconnectedError):
    """A connection that had served before ended before any byte of this reply.

    The engine had closed it while the request was on its way, and has not seen the request.
    """


class EngineConnection(ResponseHandler):
    """Serves the requests of the gateway, one after the other.

    - The head of a reply is parsed apart from the bytes behind it, so that an error in those does
      not take the reply with it.
    - A body that cannot be read further is an error at once; aiohttp's readers would wait for more.
    - A connection that the engine closed while it was idle is told apart from an engine that fails.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._requests = 0
        self._is_silent = True
        self._head_tail: bytes | None = b""
        """The last bytes of an incomplete head; None once it is complete."""

    def set_response_params(self, **params: Any) -> None:
        self._requests += 1
        self._is_silent, self._head_tail = True, b""
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        if data:  # none comes with an earlier reply's reader, which resumes reading
            self._is_silent = False
        if self._head_tail is not None:
            data = self._receive_head(self._head_tail, data)
        super().data_received(data)

    def _receive_head(self, tail: bytes, data: bytes) -> bytes:
        """Parse the head as far as it is in the data; returns the data behind it."""
        found = (tail + data).find(_END_OF_HEAD)
        if found < 0:
            self._head_tail = (tail + data)[1 - len(_END_OF_HEAD) :]
            return data
        self._head_tail = None
        end = found + len(_END_OF_HEAD) - len(tail)
        if end == len(data):
            return data
        super().data_received(data[:end])
        return data[end:]

    def set_exception(self, exc: BaseException, exc_cause: BaseException = _UNKNOWN) -> None:
        if self._is_silent and self._requests > 1:
            exc = StaleConnection()
        body = self._payload
        super().set_exception(exc, exc_cause)
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError("the body is not readable"), exc)


class EngineConnector(aiohttp.TCPConnector):
    """A pool of such connections."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # pyright: ignore[reportUnknownMemberType]
        self._factory = partial(EngineConnection, loop=self._loop)
