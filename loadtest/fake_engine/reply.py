"""Runs the script of one request on its client's connection."""

import asyncio
import time
from collections.abc import Callable

from loadtest.fake_engine.dialect import (
    ANSWER_FRAME,
    ERROR_FRAME,
    LAST_CHUNK,
    STREAM_HEAD,
    THINKING_FRAME,
    completion,
    end_of_stream,
    error_body,
    whole_response,
)
from loadtest.fake_engine.script import Script
from loadtest.fake_engine.state import Ended, EngineState

_BATCH = 16
"""Chunks without a rate that are written before other connections get their turn."""


class Reply:
    """One reply; `writable` is cleared while the transport's buffer is full.

    `before_end` is called before the bytes that complete the answer are written.
    """

    def __init__(
        self,
        state: EngineState,
        transport: asyncio.Transport,
        writable: asyncio.Event,
        script: Script,
        before_end: Callable[[], None],
    ) -> None:
        self._state = state
        self._transport = transport
        self._writable = writable
        self._script = script
        self._before_end = before_end

    async def run(self, stream: bool) -> Ended:
        script = self._script
        if script.headers:
            await asyncio.sleep(script.headers)
        if script.die and script.at is None:
            self._transport.close()
            return "broken"
        if script.error and script.at is None:
            body = error_body("scripted", "InternalServerError", script.error)
            self._transport.write(whole_response(body, script.error))
            return "broken"
        if stream:
            return await self._stream()
        await asyncio.sleep(script.first)
        self._before_end()
        self._transport.write(whole_response(completion(script)))
        return "complete"

    async def _stream(self) -> Ended:
        script = self._script
        self._transport.write(STREAM_HEAD)
        if script.first:
            await asyncio.sleep(script.first)
        total, position, started = script.think + script.chunks, 0, time.perf_counter()
        while script.endless or position < total:
            size = 1 if script.rate else _BATCH
            if not script.endless:
                size = min(size, total - position)
            interrupted = script.at is not None and position <= script.at < position + size
            if interrupted and script.at is not None:
                size, script.at = script.at - position, None
            self._write_chunks(position, size)
            position += size
            if interrupted:
                if script.error or script.die:
                    self._break_off()
                    return "broken"
                await asyncio.sleep(script.stall)
                continue
            await self._writable.wait()
            next_at = started + position / script.rate if script.rate else 0.0
            await asyncio.sleep(max(0.0, next_at - time.perf_counter()))
        self._before_end()
        self._transport.write(end_of_stream(script))
        return "complete"

    def _write_chunks(self, position: int, size: int) -> None:
        """Write each chunk in an HTTP chunk and a write of its own, as vLLM does."""
        self._state.chunks += size
        for index in range(position, position + size):
            self._transport.write(THINKING_FRAME if index < self._script.think else ANSWER_FRAME)

    def _break_off(self) -> None:
        if self._script.error:
            self._transport.write(ERROR_FRAME + LAST_CHUNK)
        else:
            self._transport.close()
