"""The effort canary: whether the efforts of an engine change how long it thinks.

Of published sweeps over efforts, one in seventeen shows no effect at all, and some templates turn
`none` into the most thinking. The canary runs behind the clients' requests, one question at a time,
once an engine is up: it delays neither readiness nor, by more than one question, a client.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from router.effort import Effort
from server.engines.canary import ProbeReply
from server.engines.dialect import Dialect
from server.engines.effort_effects import EffortEffects, effects, prompts_needed
from server.engines.effort_trial import Trial, Trials, pairs, prompts, read_trial, room, trial_body
from server.engines.engine import Engine
from server.engines.model_info import ModelInfo
from server.engines.probing import ask
from server.engines.shared_trials import measured_once
from server.errors import EngineError

MAX_TOKENS = 1024
"""Completion tokens of a question; thoughts that were cut at it show a lower bound only."""

_TOTAL_SECONDS = 600.0
_BUSY_SECONDS = 5.0
"""The longest wait for a moment without clients' requests, before each question."""

_POLL_SECONDS = 0.05
_AGAIN_SECONDS = 600.0
"""The least time between two runs on one engine, which may come and go."""

Question = Callable[[dict[str, Any]], Awaitable[ProbeReply]]

log = structlog.get_logger(__name__)


async def measure(
    ask_engine: Question,
    dialect: Dialect,
    model: ModelInfo,
    efforts: Sequence[Effort],
    seconds: float,
) -> Trials | None:
    """What is answered in so many seconds; None if nothing is at one of the efforts.

    Raises:
        EngineError: the engine did not answer.
    """
    trials: dict[Effort, dict[str, Trial]] = {effort: {} for effort in efforts}
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for prompt, effort in pairs(efforts, prompts(prompts_needed(len(efforts)))):
                limit = room(model.context, prompt, MAX_TOKENS)
                body = trial_body(dialect, model.model, effort, prompt, limit, 0.0)
                reply = await ask_engine(body)
                trial = read_trial(reply.answer) if reply.status == 200 else None
                if trial is not None:
                    trials[effort][prompt] = trial
    return trials if all(trials.values()) else None


class EffortCanary:
    """Measures the efforts of engines that come up, in tasks of its own.

    Args:
        dialect: how the engines spell efforts.
        efforts: those to compare; fewer than two are not measured.
        folder: where the workers of one gateway share what one of them has measured.
    """

    def __init__(
        self, dialect: Dialect, efforts: Sequence[Effort], folder: Path | None = None
    ) -> None:
        self._folder = folder
        self.dialect = dialect
        self.efforts = tuple(efforts)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._started: dict[str, float] = {}

    def start(self, engine: Engine) -> None:
        """Measure an engine that has come up, unless that is going on or was done just now."""
        task, now = self._tasks.get(engine.name), time.monotonic()
        if self.dialect.hosted or len(self.efforts) < 2 or (task and not task.done()):
            return
        if now - self._started.get(engine.name, -_AGAIN_SECONDS) < _AGAIN_SECONDS:
            return
        self._started[engine.name] = now
        self._tasks[engine.name] = asyncio.create_task(self._run(engine))

    def stop(self) -> None:
        """Cancel what is going on."""
        for task in self._tasks.values():
            task.cancel()

    async def _run(self, engine: Engine) -> None:
        assert engine.model_info is not None
        question = partial(self._ask, engine)
        measurement = partial(
            measure, question, self.dialect, engine.model_info, self.efforts, _TOTAL_SECONDS
        )
        try:
            if self._folder is None:
                trials = await measurement()
            else:
                shown = f"{engine.url} {engine.model_info.model} {self.efforts}"
                name = hashlib.sha256(shown.encode())
                file = self._folder / f"efforts-{name.hexdigest()[:16]}.json"
                trials = await measured_once(file, _AGAIN_SECONDS, measurement)
        except (EngineError, OSError, TypeError, AttributeError, LookupError, ValueError) as error:
            log.warning("the effort canary got no answer", engine=engine.name, reason=str(error))
            self._started.pop(engine.name, None)
            return
        if trials is None:
            log.warning(
                "the effort canary got no answer",
                engine=engine.name,
                reason="no reply to one of the efforts counts its tokens",
            )
            return
        engine.effort_effects = effects(trials)
        _report(engine, engine.effort_effects)

    async def _ask(self, engine: Engine, body: dict[str, Any]) -> ProbeReply:
        with suppress(TimeoutError):
            async with asyncio.timeout(_BUSY_SECONDS):
                while engine.in_flight:  # noqa: ASYNC110 - a counter, without an event
                    await asyncio.sleep(_POLL_SECONDS)
        return await ask(engine, self.dialect, body, unlimited=True)


def _report(engine: Engine, measured: EffortEffects) -> None:
    measure = "completion_tokens" if measured.counts_all else "thinking_tokens"
    facts: dict[str, Any] = {
        "engine": engine.name,
        measure: {level.effort: level.tokens for level in measured.levels},
    }
    unclear = [level.effort for level in measured.levels if level.verdict == "not enough evidence"]
    if unclear:
        facts["not_enough_evidence"] = unclear
    withheld = measured.withheld
    if withheld:
        log.warning(
            "efforts that do not do what their names say are not offered to the router",
            findings=[level.detail for level in withheld.values()],
            instead={effort: level.stand_in for effort, level in withheld.items()},
            **facts,
        )
    else:
        log.info("efforts measured", **facts)
