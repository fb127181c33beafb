"""Cancels a request's work when its client disconnects; the embedded engine uses it too."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.types import Receive

_T = TypeVar("_T")


class ClientDisconnected(Exception):  # noqa: N818 - named as Starlette names it
    """The client disconnected: there is nobody to answer."""


async def cancel_on_disconnect(receive: Receive, work: Awaitable[_T]) -> _T:
    """Await the work of a request whose body was read; cancel it when the client disconnects.

    The work stays in this task, as in `asyncio.timeout`: a task of its own costs 30 us per request.

    Raises:
        ClientDisconnected: the client disconnected before the work was complete.
    """
    task = asyncio.current_task()
    assert task is not None
    watch = asyncio.create_task(_cancel_at_disconnect(receive, task), name="watch")
    try:
        return await work
    except asyncio.CancelledError:
        disconnected = watch.done() and not watch.cancelled() and watch.exception() is None
        if disconnected and task.uncancel() == 0:
            raise ClientDisconnected from None
        raise
    finally:
        watch.cancel()


async def _cancel_at_disconnect(receive: Receive, task: "asyncio.Task[object]") -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel()
