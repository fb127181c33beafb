"""Cancels a request whose client disconnects; the gateway and the embedded engine use it."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

from starlette.types import Receive, Scope

Watch = Callable[[Callable[[], None]], Callable[[], object]]
"""Calls a function when the client has disconnected, until the function that it returns is called.

`server.http.connection` has one for each request, as `scope["state"]["watch_disconnect"]`."""


class ClientDisconnected(Exception):  # noqa: N818 - named as Starlette names it
    """The client disconnected; nobody is left to answer."""


@contextmanager
def cancel_on_disconnect(scope: Scope, receive: Receive) -> Generator[None]:
    """Cancel the block when the client disconnects; the request's body must have been read.

    The block stays in its task, as in `asyncio.timeout`: a task of its own costs 30 us per request.

    Raises:
        ClientDisconnected: the client disconnected before the block ended.
    """
    task = asyncio.current_task()
    assert task is not None
    is_gone = False

    def cancel() -> None:
        nonlocal is_gone
        is_gone = True
        task.cancel()

    watch: Watch | None = scope.get("state", {}).get("watch_disconnect")
    stop = _watch(receive, cancel) if watch is None else watch(cancel)
    try:
        yield
    except asyncio.CancelledError:
        if is_gone and task.uncancel() == 0:
            raise ClientDisconnected from None
        raise
    finally:
        stop()


def _watch(receive: Receive, on_disconnect: Callable[[], None]) -> Callable[[], object]:
    """Watch by ASGI, for a server whose connections do not."""
    watcher = asyncio.create_task(_wait(receive, on_disconnect), name="watch")
    return watcher.cancel


async def _wait(receive: Receive, on_disconnect: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    on_disconnect()
