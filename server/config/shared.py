"""What the workers of one gateway get from their parent process."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from ctypes import Array, c_ubyte
from dataclasses import dataclass
from multiprocessing.synchronize import Semaphore
from pathlib import Path

from server.config.engine_command import EngineCommand

_STARTUP_SECONDS = 5


@dataclass(frozen=True)
class Shared:
    """The same values in every worker.

    Attributes:
        key: the key of the conversations' hashes.
        turns: memory for `server.decide.turn_memory`, of the process that started them.
        engine: the engine that the parent runs; None with an upstream.
        limits: a file for `server.limits.key_table`.
        sessions: a file for `server.limits.session_table`.
        in_flight: a file for `server.lifecycle.in_flight_table`.
        folder: for files of theirs, until they end.
        ready: released once by each worker that can serve.
    """

    key: bytes
    turns: "Array[c_ubyte]"
    engine: EngineCommand | None
    limits: Path
    sessions: Path
    in_flight: Path
    folder: Path
    ready: Semaphore

    @asynccontextmanager
    async def awaiting(self, up: asyncio.Event) -> AsyncGenerator[None]:
        """Delay a worker's startup until an engine is `up`, for a few seconds at most.

        The other workers answer meanwhile. `ready` is released as soon as an engine is up.
        """

        async def release() -> None:
            await up.wait()
            self.ready.release()

        releasing = asyncio.create_task(release())
        try:
            await asyncio.wait({releasing}, timeout=_STARTUP_SECONDS)
            yield
        finally:
            releasing.cancel()
