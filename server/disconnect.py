"""Work that ends with its client: shared by the gateway and the embedded engine."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

_T = TypeVar("_T")


class ClientDisconnected(Exception):  # noqa: N818 - named as Starlette names it
    """The client went away; nobody is left to answer."""


async def unless_left(receive: Receive, work: Coroutine[Any, Any, _T]) -> _T:
    """Do the work of a request whose body was read, or cancel it when the client leaves.

    Raises:
        ClientDisconnected: the client left first.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnected
        return await working
    finally:
        leaving.cancel()
        if not working.done():
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
