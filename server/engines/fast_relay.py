"""Gives a sink each chunk where it arrives, within the transport's callback."""

from collections.abc import Generator
from types import coroutine
from typing import Any

from server.engines.reply import Sink

_READY = object()


class FastRelay:
    """Runs a sink without a task.

    Waking a task for every chunk, one turn of the event loop later, is a tenth of the CPU time of a
    chunk or more (docs/benchmarks/gateway.md).
    """

    def __init__(self, sink: Sink) -> None:
        self._feeder = _feed(sink)
        self._pending = self._feeder.send(None)

    def send(self, chunk: bytes) -> bool:
        """Give the sink a chunk; False where it waits, and `finish` must be awaited.

        Raises whatever the sink raises.
        """
        self._pending = self._feeder.send(chunk)
        return self._pending is _READY

    @coroutine
    def finish(self) -> Generator[Any, Any, None]:
        """Wait, in the calling task, until the sink has taken its chunk."""
        while self._pending is not _READY:
            yield self._pending
            self._pending = self._feeder.send(None)


def _feed(sink: Sink) -> Generator[Any, Any, None]:
    """Give the sink each chunk that is sent in; yields what it waits for, `_READY` when idle."""
    while True:
        yield from sink((yield _READY)).__await__()
