"""Engines that serve the same model: which one gets a request, and what if one of them fails."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from models.outcomes.client import (
    GenerateError,
    GenerationTask,
    RefusedError,
    RequestSettings,
    complete,
)


def say_left_out(error: Exception, live: int) -> None:
    """Say that an engine gets no requests because of an error, and that `live` others do."""
    print(f"warning: {error}; going on with {live} of the engines", file=sys.stderr)


@dataclass
class _Engine:
    settings: RequestSettings
    in_flight: int = 0
    has_failed: bool = False


class Engines:
    """Sends each request to the engine with the fewest in flight, of those that have not failed."""

    def __init__(self, endpoints: Sequence[RequestSettings]) -> None:
        self._engines = [_Engine(settings) for settings in endpoints]

    async def complete(self, http: httpx.AsyncClient, task: GenerationTask) -> dict[str, Any]:
        """The completion for a task, as `models.outcomes.client.complete` gets it from one engine.

        An engine that fails gets no more requests; the others take over those that it had.

        Raises:
            RefusedError: an engine refused this problem.
            GenerateError: all engines have failed; this is the last one's failure.
        """
        while True:
            live = [engine for engine in self._engines if not engine.has_failed]
            engine = min(live, key=lambda engine: engine.in_flight)
            engine.in_flight += 1
            try:
                return await complete(http, engine.settings, task)
            except RefusedError:
                raise
            except GenerateError as error:
                self._leave_out(engine, error)
            finally:
                engine.in_flight -= 1

    def _leave_out(self, failed: _Engine, error: GenerateError) -> None:
        """Say once that the engine gets no more requests.

        Raises:
            GenerateError: it is the last one.
        """
        live = sum(not engine.has_failed for engine in self._engines if engine is not failed)
        if not live:
            raise error
        if not failed.has_failed:
            failed.has_failed = True
            say_left_out(error, live)
