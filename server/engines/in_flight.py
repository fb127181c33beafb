"""A request that an engine is serving: counted on that engine until it ends."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from server.engines.engine import Engine
from server.engines.reply import Reply
from server.errors import EngineDown, EngineFailed

FAILURES = (EngineDown, EngineFailed)
"""Errors that are the engine's fault, not the request's."""


class InFlight:
    """A request on an engine, and its reply; leaving the context ends it at any point.

    Args:
        engine: counts the request.
        reply: not begun yet.
        report_failure: called with an error that is the engine's fault.
    """

    __slots__ = ("_report_failure", "engine", "reply")

    def __init__(
        self, engine: Engine, reply: Reply, report_failure: Callable[[Engine, Exception], None]
    ) -> None:
        self.engine, self.reply = engine, reply
        self._report_failure = report_failure
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
        """Close the reply; an error of the engine's is reported."""
        self.engine.in_flight -= 1
        if isinstance(error, FAILURES):
            self._report_failure(self.engine, error)
        await self.reply.aclose()
