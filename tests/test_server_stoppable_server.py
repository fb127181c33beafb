"""The server wakes for the date alone, and stops when it is told to."""

import asyncio
import signal
import time
from typing import Any

from uvicorn import Config

from server.http.stoppable_server import StoppableServer


class Counted(StoppableServer):
    ticks = 0

    async def on_tick(self, counter: int) -> bool:
        self.ticks += 1
        return await super().on_tick(counter)


async def _application(scope: Any, receive: Any, send: Any) -> None: ...


def test_it_wakes_once_a_second_and_stops_at_once() -> None:
    async def main() -> tuple[int, float]:
        server = Counted(Config(_application))
        serving = asyncio.create_task(server.main_loop())
        await asyncio.sleep(1.5)
        begun = time.perf_counter()
        server.handle_exit(signal.SIGTERM, None)
        await serving
        return server.ticks, time.perf_counter() - begun

    ticks, seconds = asyncio.run(main())
    assert ticks < 8  # three, or more on a busy machine; uvicorn has 16
    assert seconds < 0.6


def test_the_date_is_there_and_a_stop_before_the_start_is_kept() -> None:
    async def main() -> dict[bytes, bytes]:
        server = Counted(Config(_application))
        server.config.load()
        server.should_exit = True
        await server.main_loop()
        assert server.ticks == 1
        return dict(server.server_state.default_headers)

    assert b"date" in asyncio.run(main())
