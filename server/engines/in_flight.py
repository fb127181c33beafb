"""A request that was sent to an engine: counted there until it is over."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from server.engines.engine import Engine
from server.engines.reply import Reply
from server.errors import EngineDown, EngineFailed

FAILURES = (EngineDown, EngineFailed)
"""Errors that say something of the engine."""


class InFlight:
    """A request with an engine, and its reply; over when it is left, wherever the reply is."""

    def __init__(
        self, engine: Engine, reply: Reply, failed: Callable[[Engine, Exception], None]
    ) -> None:
        self.engine, self.reply = engine, reply
        self._failed = failed
        engine.in_flight += 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.end(error)

    async def end(self, error: BaseException | None = None) -> None:
        """Leave the reply; an error of the engine's is told to who watches it."""
        self.engine.in_flight -= 1
        if isinstance(error, FAILURES):
            self._failed(self.engine, error)
        await self.reply.aclose()
