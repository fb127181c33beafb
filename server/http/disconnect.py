"""Work that ends with its client: shared by the gateway and the embedded engine."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.types import Receive

_T = TypeVar("_T")


class ClientDisconnected(Exception):  # noqa: N818 - named as Starlette names it
    """The client went away; nobody is left to answer."""


async def cancel_on_disconnect(receive: Receive, work: Awaitable[_T]) -> _T:
    """Do the work of a request whose body was read, or cancel it when the client leaves.

    The work stays in this task, as in `asyncio.timeout`: a task of its own costs a request 30 us.

    Raises:
        ClientDisconnected: the client left first.
    """
    working = asyncio.current_task()
    assert working is not None
    watching = asyncio.create_task(_cancel_when_left(receive, working), name="watch")
    try:
        return await work
    except asyncio.CancelledError:
        left = watching.done() and not watching.cancelled() and watching.exception() is None
        if left and working.uncancel() == 0:
            raise ClientDisconnected from None
        raise
    finally:
        watching.cancel()


async def _cancel_when_left(receive: Receive, working: "asyncio.Task[object]") -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    working.cancel()
