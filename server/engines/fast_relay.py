"""Gives a sink each chunk where it arrives, within the transport's callback, without a task.

Waking a task for every chunk, one turn of the event loop later, is a tenth of the CPU time of a
chunk or more (docs/benchmarks/gateway.md).
"""

from collections.abc import Generator
from types import coroutine
from typing import Any

from server.engines.reply import Sink

Feeder = Generator[Any, Any, None]
READY = object()
"""What a feeder yields when it may be sent a chunk."""


def feeder(sink: Sink) -> Feeder:
    """Gives the sink each chunk that is sent in; yields what it waits for, or READY."""
    while True:
        yield from sink((yield READY)).__await__()


@coroutine
def finish(feeder: Feeder, pending: Any) -> Generator[Any, Any, None]:
    """Wait, in the calling task, until the sink has taken its chunk.

    Args:
        feeder: of the sink.
        pending: what it has yielded.
    """
    while pending is not READY:
        yield pending
        pending = feeder.send(None)
