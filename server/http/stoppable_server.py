"""uvicorn's server, which wakes once a second for the date, not ten times to look for a stop."""

import asyncio
from contextlib import suppress

import uvicorn

_DATE_SECONDS = 1.0
"""Seconds for which the `date` header of responses holds."""


class StoppableServer(uvicorn.Server):
    """A server that is told when it is to stop."""

    def __init__(self, config: uvicorn.Config) -> None:
        self._stops = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        super().__init__(config)

    @property
    def should_exit(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] - can be set
        """Whether it is to stop. A signal's handler may set it."""
        return self._stops

    @should_exit.setter
    def should_exit(self, stops: bool) -> None:
        self._stops = stops
        if stops and self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):  # which sets the date
            with suppress(TimeoutError):
                async with asyncio.timeout(_DATE_SECONDS):
                    await self._stopping.wait()
