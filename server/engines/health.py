"""Which engines are up: their models, how they enforce budgets, and whether the gateway is ready.

One task per engine asks for its models at intervals, and at once after a request has failed on it.
An engine that comes up, or comes back, passes the canary before it counts as up.
"""

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import structlog

from router.effort import Effort
from server.engines.budget_support import UNKNOWN, BudgetSupport
from server.engines.canary import probe
from server.engines.dialect import Dialect
from server.engines.engine import Engine, NoModels
from server.engines.model_info import ModelInfo
from server.engines.probing import ask
from server.errors import EngineDown, EngineError
from server.observe.backoff import Backoff
from server.observe.metrics import Metrics

_UP_SECONDS, _DOWN_SECONDS = 5.0, 0.25
_HOSTED_UP_SECONDS, _HOSTED_DOWN_SECONDS = 60.0, 5.0
"""Seconds between two checks of an engine that is up, of one that is down, and of a vendor's."""

_CANARY_SECONDS = 30.0
_MAX_LISTED = 5
_WARNING_DELAY_SECONDS, _WARNING_SECONDS, _MAX_WARNING_SECONDS = 3.0, 10.0, 600.0
"""Seconds until an outage is reported, and between two reports of the same outage."""

_CANARY_RETRY_SECONDS, _MAX_CANARY_RETRY_SECONDS = 5.0, 600.0

log = structlog.get_logger(__name__)


class _Watch:
    """One engine, with the paces at which its outages are reported and its canary is repeated."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.warning = Backoff(_WARNING_DELAY_SECONDS, _WARNING_SECONDS, _MAX_WARNING_SECONDS)
        self.canary = Backoff(0.0, _CANARY_RETRY_SECONDS, _MAX_CANARY_RETRY_SECONDS)


class Health:
    """Watches engines and sets their `up`, `model_info` and `budget_support`.

    `ready` is set once the first engine is up, and stays set. `read_template`, where it is set,
    gets the chat template of an engine that comes up, before the canary; it may call `adopt`.

    Args:
        engines: at least one.
        dialect: how they spell effort and budget.
        model: its name on the engines; None takes the first one that an engine lists.
        effort: an effort with reasoning, for the canary.
        metrics: shows the engines' state.
        came_up: called with an engine that has passed the canary.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        dialect: Dialect,
        model: str | None,
        effort: Effort,
        metrics: Metrics,
        came_up: Callable[[Engine], None] | None = None,
    ) -> None:
        self.ready = asyncio.Event()
        self._engines = tuple(engines)
        self._dialect = dialect
        self._model = model
        self._effort: Effort = effort
        self._metrics = metrics
        self._came_up = came_up
        self.read_template: Callable[[str], None] | None = None
        for engine in self._engines:
            metrics.engine_up.labels(engine.name).set(0)

    def adopt(self, dialect: Dialect, effort: Effort) -> None:
        """Probe in this dialect, at this effort, from now on."""
        self._dialect, self._effort = dialect, effort

    @property
    def up(self) -> bool:
        """Whether at least one engine answers."""
        return any(engine.up for engine in self._engines)

    @property
    def model_info(self) -> ModelInfo | None:
        """The model, of an engine that is up if there is one; None before any engine was up."""
        engines = [engine for engine in self._engines if engine.model_info is not None]
        return min(engines, key=lambda engine: not engine.up).model_info if engines else None

    def states(self) -> list[dict[str, Any]]:
        """The `engines` list of `GET /ready`."""
        return [
            {
                "engine": engine.name,
                "up": engine.up,
                "budgets": engine.budget_support.state,
                "continues": engine.budget_support.continues,
                "efforts": engine.effort_effects.as_json() if engine.effort_effects else None,
            }
            for engine in self._engines
        ]

    def report_failure(self, engine: Engine, error: Exception) -> None:
        """A request failed on an engine: mark it down if unreachable, else check it at once."""
        if isinstance(error, EngineDown):
            self._mark_down(engine)
        else:
            engine.recheck.set()

    def report_ignored_budget(self, engine: Engine) -> None:
        """An engine that enforces budgets has ignored one: enforce them in two phases from now."""
        support = engine.budget_support
        if support.mode != "native" or not support.proven:
            return
        detail = "the engine has ignored a budget, although it obeyed the canary's"
        mode = "two-phase" if support.continues else "native"
        engine.budget_support = BudgetSupport(mode, False, detail, continues=support.continues)
        self._metrics.set_budget_state(engine.name, engine.budget_support.state)
        log.warning(
            "budget ignored",
            engine=engine.name,
            budgets=engine.budget_support.state,
            hint="report it with the engine's version",
        )

    @contextmanager
    def watching(self) -> Generator[None]:
        """Check the engines while the context is open; their connections must be open."""
        watches = [asyncio.create_task(self._watch(_Watch(engine))) for engine in self._engines]
        try:
            yield
        finally:
            for watch in watches:
                watch.cancel()

    async def _watch(self, watch: _Watch) -> None:
        engine, is_hosted = watch.engine, self._dialect.hosted
        while True:
            try:
                await self._check(watch)
            except NoModels as error:
                self._mark_down(engine)
                if watch.warning.due():
                    log.warning(
                        f"no engine answers at {engine.address}; waiting for it",
                        engine=engine.name,
                        reason=str(error),
                    )
            except Exception:
                self._mark_down(engine)
                if watch.warning.due():
                    log.exception("the health check failed", engine=engine.name)
            else:
                watch.warning.reset()
            engine.recheck.clear()
            up_seconds = _HOSTED_UP_SECONDS if is_hosted else _UP_SECONDS
            down_seconds = _HOSTED_DOWN_SECONDS if is_hosted else _DOWN_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(up_seconds if engine.up else down_seconds):
                    await engine.recheck.wait()

    async def _check(self, watch: _Watch) -> None:
        """List the engine's models; run the canary on an engine that came up or was not probed.

        Raises:
            NoModels: it lists no models, or not the one that is served.
        """
        engine = watch.engine
        models = await engine.models()
        model_info = next((info for info in models if self._model in (None, info.model)), None)
        if model_info is None:
            listed = ", ".join(info.model for info in models[:_MAX_LISTED])
            raise NoModels(f"it does not serve the model {self._model}, but {listed}")
        if engine.up and engine.budget_support is not UNKNOWN:
            return
        if not engine.up:
            watch.canary.reset()
        if not watch.canary.due():
            return
        engine.has_tokenizer = engine.reports_thinking = True
        if self.read_template is not None:
            template = await engine.chat_template()
            if template is not None:
                self.read_template(template)
        engine.budget_support = await self._run_canary(engine, model_info.model)
        self._model = model_info.model
        engine.model_info, engine.up = model_info, True
        self._metrics.engine_up.labels(engine.name).set(1)
        if not self._dialect.hosted:
            self._metrics.set_budget_state(engine.name, engine.budget_support.state)
        write = log.info if engine.budget_support.proven else log.warning
        write(
            "engine up",
            engine=engine.name,
            model=model_info.model,
            context=model_info.context,
            budgets=engine.budget_support.state,
            continues=engine.budget_support.continues,
            canary=engine.budget_support.detail,
        )
        self.ready.set()
        if self._came_up is not None:
            self._came_up(engine)

    async def _run_canary(self, engine: Engine, model: str) -> BudgetSupport:
        """What the canary measured; UNKNOWN, and probed again later, where it got no answer."""
        try:
            async with asyncio.timeout(_CANARY_SECONDS):
                return await probe(
                    partial(ask, engine, self._dialect), self._dialect, model, self._effort
                )
        except (EngineError, TimeoutError):
            return UNKNOWN
        except (TypeError, AttributeError, LookupError, ValueError):  # the answer is malformed
            log.exception("the canary's answer cannot be parsed", engine=engine.name)
            return UNKNOWN

    def _mark_down(self, engine: Engine) -> None:
        if engine.up:
            engine.up = False
            engine.recheck.set()
            self._metrics.engine_up.labels(engine.name).set(0)
            log.warning("engine down", engine=engine.name)
