"""What workers have from the process that keeps them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Semaphore

from server.config.engine_command import EngineCommand

_PATIENCE_SECONDS = 5


@dataclass(frozen=True)
class Shared:
    """The same for every worker.

    `key` is the key of the conversations' hashes, `engine` one that runs for all of them, None
    where others run it; `ready` is released by each worker that can serve.
    """

    key: bytes
    engine: EngineCommand | None
    ready: Semaphore

    @asynccontextmanager
    async def awaiting(self, up: asyncio.Event) -> AsyncGenerator[None]:
        """Entered once the engine is `up`, or a while later; other workers answer meanwhile."""

        async def tell() -> None:
            await up.wait()
            self.ready.release()

        telling = asyncio.create_task(tell())
        try:
            await asyncio.wait({telling}, timeout=_PATIENCE_SECONDS)
            yield
        finally:
            telling.cancel()
