"""The engines that serve one model: which of them takes a request, and the retry on another.

A conversation stays with one engine, whose prefix cache holds it, unless that engine is busier than
the others. A request moves to another engine only before its first byte has arrived.
"""

import hashlib
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from router.effort import Effort
from server.engines.answered_reply import answered_reply
from server.engines.budget_support import BudgetSupport
from server.engines.call import Call
from server.engines.dialect import Dialect
from server.engines.effort_canary import EffortCanary
from server.engines.effort_effects import LevelEffect
from server.engines.engine import Engine
from server.engines.health import Health
from server.engines.in_flight import FAILURES, InFlight
from server.engines.model_info import ModelInfo
from server.engines.reported_error import check_credentials
from server.errors import EngineDown, NotFound
from server.observe.metrics import Metrics

_LOAD_FACTOR = 1.25
"""A conversation leaves its engine when that engine has this many times the mean of requests in
flight (consistent hashing with bounded loads, arXiv 1608.01350)."""

_RETRY_STATUSES = (500, 502, 503, 504)
"""HTTP statuses after which another engine may succeed."""

_MAX_ATTEMPTS = 2
"""Engines that a request is sent to: one that crashes engines must not visit all of them."""


class Fleet:
    """Engines that serve one model.

    Args:
        engines: at least one.
        dialect: how they spell effort and budget.
        model: its name on the engines; None takes the first one that an engine lists.
        effort: an effort with reasoning, for the canary.
        metrics: shows the engines' state and the retries.
        aliases: further names under which clients may ask for the model.
        efforts: those whose effect is measured when an engine comes up; empty measures none.
        shared_folder: where the workers of one gateway share what one of them has measured.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        dialect: Dialect,
        model: str | None,
        effort: Effort,
        metrics: Metrics,
        aliases: tuple[str, ...] = (),
        efforts: Sequence[Effort] = (),
        shared_folder: Path | None = None,
    ) -> None:
        self.dialect = dialect
        self._aliases = aliases
        self._effort_canary = EffortCanary(dialect, efforts, shared_folder)
        self.health = Health(engines, dialect, model, effort, metrics, self._effort_canary.start)
        self._engines = tuple(engines)
        self._metrics = metrics

    def adopt(self, dialect: Dialect, effort: Effort, efforts: Sequence[Effort]) -> None:
        """Use this dialect, and measure these efforts, from now on; see the constructor."""
        self.dialect = self._effort_canary.dialect = dialect
        self._effort_canary.efforts = tuple(efforts)
        self.health.adopt(dialect, effort)

    @property
    def has_alternatives(self) -> bool:
        """Whether a request has more than one engine to go to."""
        return len(self._engines) > 1

    @property
    def budget_support(self) -> BudgetSupport:
        """What holds on any engine that may take a request: the weakest of those that are up."""
        if len(self._engines) == 1:
            return self._engines[0].budget_support
        engines = [engine for engine in self._engines if engine.up] or self._engines
        return min((engine.budget_support for engine in engines), key=BudgetSupport.strength)

    @property
    def withheld_efforts(self) -> dict[Effort, LevelEffect]:
        """The efforts that a router is not offered, because they do not do what their names say.

        As measured on the first engine that was: all serve one model.
        """
        for engine in self._engines:
            if engine.effort_effects is not None:
                return engine.effort_effects.withheld
        return {}

    def resolve_model(self, requested: str | None) -> ModelInfo:
        """The model that serves a request for the model of this name, or for any (None).

        The name may end in an effort: `demo:high`.

        Raises:
            NotFound: the engines serve another model.
            EngineDown: no engine was up yet, so their model is unknown.
        """
        model_info = self.health.model_info
        if model_info is None:
            raise EngineDown("the engine is not up yet; try again shortly")
        if self._aliases:
            model_info = replace(model_info, aliases=self._aliases)
        if requested not in (
            None,
            model_info.model,
            *self._aliases,
        ) and not model_info.effort_suffix(requested):
            raise NotFound(
                f"the model '{requested[:80]}' does not exist here; "
                f"this server serves '{model_info.model}'",
                "model",
            )
        return model_info

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[None]:
        """Keep the connection pools open and the health checks running."""
        async with AsyncExitStack() as stack:
            for engine in self._engines:
                await stack.enter_async_context(engine.connected())
            stack.callback(self._effort_canary.stop)
            with self.health.watching():
                yield

    async def send(self, call: Call) -> InFlight:
        """Send a request to an engine and wait for the first bytes of its reply.

        Raises:
            EngineError: the last engine that was tried failed.
        """
        tried: list[Engine] = []
        while True:
            engine = self._pick(call.conversation, tried)
            tried.append(engine)
            may_retry = len(tried) < min(_MAX_ATTEMPTS, len(self._engines)) and any(
                engine.up for engine in self._engines if engine not in tried
            )
            reply = answered_reply(engine, call, self.dialect)
            in_flight = InFlight(engine, reply, self.health.report_failure)
            try:
                await in_flight.reply.begin()
                check_credentials(in_flight.reply.status, engine.name)
            except BaseException as error:
                await in_flight.end(error)
                if not (may_retry and isinstance(error, FAILURES)):
                    raise
            else:
                if not (may_retry and in_flight.reply.status in _RETRY_STATUSES):
                    return in_flight
                await in_flight.end()
            self._metrics.engine_retries.inc()

    def _pick(self, conversation: str | None, tried: Sequence[Engine]) -> Engine:
        """The conversation's engine, or the least loaded where that is too busy, down or tried."""
        if len(self._engines) == 1:
            return self._engines[0]
        candidates = [engine for engine in self._engines if engine not in tried]
        candidates = [engine for engine in candidates if engine.up] or candidates
        in_flight = 1 + sum(engine.in_flight for engine in candidates)
        max_in_flight = math.ceil(_LOAD_FACTOR * in_flight / len(candidates))
        if conversation is not None and len(candidates) > 1:
            preferred = max(candidates, key=lambda engine: _affinity(conversation, engine))
            if preferred.in_flight < max_in_flight:
                return preferred
        return min(candidates, key=lambda engine: engine.in_flight)


def _affinity(conversation: str, engine: Engine) -> bytes:
    """Rendezvous hashing: the engine with the highest value has the conversation."""
    return hashlib.blake2b(f"{conversation} {engine.url}".encode(), digest_size=8).digest()
