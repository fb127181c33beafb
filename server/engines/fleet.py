"""The engines that serve one model: who is up, who gets a request, who gets it when that fails.

A conversation stays with its engine, whose prefix cache knows it, as long as that one is not
busier than the others; a request goes to another engine only before its first byte has come.
"""

import asyncio
import hashlib
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from typing import Any

import structlog

from router.effort import Effort
from server.engines.budget_support import UNKNOWN, BudgetSupport
from server.engines.call import Call
from server.engines.canary import prove
from server.engines.dialect import CHAT, Dialect
from server.engines.engine import Engine
from server.engines.in_flight import FAILURES, InFlight
from server.engines.model_info import ModelInfo
from server.engines.reply import Reply, parse_json
from server.engines.two_phase import TwoPhase
from server.errors import EngineDown, EngineError, NotFound
from server.observe.metrics import Metrics

_UP_SECONDS, _DOWN_SECONDS = 5.0, 0.25
_HOSTED_SECONDS = 60.0
"""Between two health checks, of an engine that was up, or down; of a vendor's in either case."""

_CANARY_SECONDS = 30.0

_BALANCE = 1.25
"""A conversation leaves its engine when that has this many times the mean of requests in flight
(consistent hashing with bounded loads, arXiv 1608.01350)."""

_BROKEN = (500, 502, 503, 504)
"""Statuses with which another engine may do better."""

_ATTEMPTS = 2
"""A request that breaks engines is not to visit them all."""

log = structlog.get_logger(__name__)


class Fleet:
    """Engines of one model.

    Args:
        engines: at least one.
        dialect: theirs.
        model: its name there; None takes the first that is found.
        effort: one at which it thinks, for the canary.
        metrics: where their state is shown.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        dialect: Dialect,
        model: str | None,
        effort: Effort,
        metrics: Metrics,
    ) -> None:
        self.dialect = dialect
        self.ready = asyncio.Event()
        self._engines = tuple(engines)
        self._model = model
        self._effort: Effort = effort
        self._metrics = metrics
        for engine in self._engines:
            metrics.engine_up.labels(engine.name).set(0)

    @property
    def has_alternatives(self) -> bool:
        """Whether there is a choice of engines."""
        return len(self._engines) > 1

    @property
    def up(self) -> bool:
        """Whether any engine answers."""
        return any(engine.up for engine in self._engines)

    @property
    def model_info(self) -> ModelInfo | None:
        """The model, once an engine was up."""
        found = [engine for engine in self._engines if engine.model_info is not None]
        return min(found, key=lambda engine: not engine.up).model_info if found else None

    @property
    def budget_support(self) -> BudgetSupport:
        """How budgets bind on all engines that are up: the weakest of them."""
        strength = ("none", "two-phase", "native")
        engines = [engine for engine in self._engines if engine.up] or self._engines
        bindings = [engine.budget_support for engine in engines]
        return min(bindings, key=lambda binding: (strength.index(binding.mode), binding.proven))

    def state(self) -> list[dict[str, Any]]:
        """What `/ready` shows of each engine."""
        return [
            {"engine": one.name, "up": one.up, "budgets": one.budget_support.state}
            for one in self._engines
        ]

    def resolve_model(self, asked: str | None) -> ModelInfo:
        """The served model, if that is the one asked for (or none was named).

        Raises:
            NotFound: another model was asked for.
            EngineDown: no engine was ever up, so the model is not known.
        """
        served = self.model_info
        if served is None:
            raise EngineDown("the engine is not up yet; try again shortly")
        if asked not in (None, served.model):
            raise NotFound(
                f"the model '{asked[:80]}' does not exist here; there is '{served.model}'", "model"
            )
        return served

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[None]:
        """Open the connections, and watch the engines' health while they are open."""
        async with AsyncExitStack() as stack:
            for engine in self._engines:
                await stack.enter_async_context(engine.connected())
            watches = [asyncio.create_task(self._watch(engine)) for engine in self._engines]
            try:
                yield
            finally:
                for watch in watches:
                    watch.cancel()

    async def send(self, call: Call) -> InFlight:
        """The request with an engine that took it: the reply's first bytes are there.

        Raises:
            EngineError: the last engine that was tried failed.
        """
        tried: list[Engine] = []
        while True:
            engine = self._pick(call.conversation, tried)
            tried.append(engine)
            others = len(tried) < _ATTEMPTS and any(
                one.up for one in self._engines if one not in tried
            )
            sent = InFlight(engine, self._reply(engine, call), self._note_failure)
            try:
                await sent.reply.begin()
            except BaseException as error:
                await sent.end(error)
                if not (others and isinstance(error, FAILURES)):
                    raise
            else:
                if not (others and sent.reply.status in _BROKEN):
                    return sent
                await sent.end()
            self._metrics.engine_retries.inc()

    def _reply(self, engine: Engine, call: Call) -> Reply:
        """The engine's reply to a request that is yet to be sent, in one phase or two."""
        budget, resume = call.budget, self.dialect.resume
        told = None if budget is None else engine.budget_support.budget_to_send(budget)
        if budget is not None and told is None and resume is not None and call.path == CHAT:
            post = partial(engine.post, call.path, request_id=call.request_id)
            return TwoPhase(post, call.write(None), budget, resume)
        return engine.post(call.path, call.write(budget if told is None else told), call.request_id)

    def _note_failure(self, engine: Engine, error: Exception) -> None:
        if isinstance(error, EngineDown):
            self._lose(engine)
        else:
            engine.doubted.set()

    def _pick(self, conversation: str | None, tried: Sequence[Engine]) -> Engine:
        """The conversation's engine, or the least loaded where that is too busy, down or tried."""
        if len(self._engines) == 1:
            return self._engines[0]
        left = [engine for engine in self._engines if engine not in tried]
        left = [engine for engine in left if engine.up] or left
        most = math.ceil(_BALANCE * (1 + sum(one.in_flight for one in left)) / len(left))
        if conversation is not None and len(left) > 1:
            own = max(left, key=lambda engine: _affinity(conversation, engine))
            if own.in_flight < most:
                return own
        return min(left, key=lambda engine: engine.in_flight)

    async def _watch(self, engine: Engine) -> None:
        while True:
            await self._check(engine)
            engine.doubted.clear()
            pause = _UP_SECONDS if engine.up else _DOWN_SECONDS
            try:
                async with asyncio.timeout(_HOSTED_SECONDS if self.dialect.hosted else pause):
                    await engine.doubted.wait()
            except TimeoutError:
                pass

    async def _check(self, engine: Engine) -> None:
        """Ask for the engine's models; one that came up proves that budgets bind on it."""
        models = await engine.models()
        served = next((one for one in models if self._model in (None, one.model)), None)
        if served is None:
            self._lose(engine)
            return
        if engine.up and engine.budget_support is not UNKNOWN:
            return
        engine.budget_support = await self._proven(engine, served.model)
        self._model = served.model
        engine.model_info, engine.up = served, True
        self._metrics.engine_up.labels(engine.name).set(1)
        if not self.dialect.hosted:
            self._metrics.bind(engine.name, engine.budget_support.state)
        tell = log.info if engine.budget_support.proven else log.warning
        tell(
            "engine up",
            engine=engine.name,
            model=served.model,
            context=served.context,
            budgets=engine.budget_support.state,
            seen=engine.budget_support.detail,
        )
        self.ready.set()

    async def _proven(self, engine: Engine, model: str) -> BudgetSupport:
        """What the canary saw; unknown, and tried again soon, where it got no answer."""
        try:
            async with asyncio.timeout(_CANARY_SECONDS):
                ask = partial(self._ask, engine)
                return await prove(ask, self.dialect, model, self._effort)
        except (EngineError, TimeoutError):
            return UNKNOWN
        except (TypeError, AttributeError, LookupError, ValueError):  # it answered nonsense
            log.exception("the canary's answer cannot be read", engine=engine.name)
            return UNKNOWN

    def _lose(self, engine: Engine) -> None:
        if engine.up:
            engine.up = False
            engine.doubted.set()
            self._metrics.engine_up.labels(engine.name).set(0)
            log.warning("engine down", engine=engine.name)

    async def _ask(
        self, engine: Engine, body: dict[str, Any], budget: int | None
    ) -> tuple[int, Any]:
        """The canary's way to the engine, past everything that is for requests of users."""
        post = partial(engine.post, CHAT, request_id="canary")
        if budget is None:
            reply = post(body)
        else:
            assert self.dialect.resume is not None
            reply = TwoPhase(post, body, budget, self.dialect.resume)
        async with aclosing(reply):
            await reply.begin()
            return reply.status, parse_json(await reply.read())


def _affinity(conversation: str, engine: Engine) -> bytes:
    """Rendezvous hashing: the engine with the highest value has the conversation."""
    return hashlib.blake2b(f"{conversation} {engine.url}".encode(), digest_size=8).digest()
