"""The account of one request: opened when it arrives, closed exactly once, whatever happens.

Closing is synchronous, in one `finally`, for answered, failed, disconnected and timed-out
requests alike; it feeds the metrics and writes one log line.
"""

import asyncio
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from router.load import Load
from server.decide.decision import Decision
from server.engines.usage import Usage
from server.errors import GatewayError, Stopping
from server.http.disconnect import ClientDisconnected
from server.observe.logs import tell
from server.observe.metrics import Metrics

CLIENT_LEFT = 499
"""nginx's status for a client that closed the connection."""

_WAIT_HALF_LIFE = 10.0
"""Seconds after which the waits of past streams count half."""

_LOOK_SECONDS = 0.01


@dataclass
class RequestRecord:
    """What is known of a request so far; times are `time.perf_counter` seconds.

    `usage` is all that was spent; `judged` that of the last try, which the budget was for; `cut`
    whether the gateway itself ended its thinking at the budget, None where the engine would have.
    """

    request_id: str
    opened: float = field(default_factory=time.perf_counter)
    read: float | None = None
    decided: float | None = None
    forwarded: float | None = None
    first_byte: float | None = None
    closed: float | None = None
    caller: str = ""
    model: str = ""
    choices: int = 1
    stream: bool = False
    decision: Decision | None = None
    usage: Usage | None = None
    status: int = 200
    prompt: str | None = None
    undershoot: int = 0
    judged: Usage | None = None
    cut: bool | None = None

    @property
    def budget_hit(self) -> bool | None:
        """Whether the budget ended the thinking; None where that cannot be known.

        An engine may stop `undershoot` tokens short of it; the canary has measured how many. A
        budget holds for each choice, and usage tells only their sum: of several choices, some may
        have been cut unless the sum is below one budget, and all were if it is all of them.
        """
        if self.decision is None or self.decision.effort == "none" or self.decision.budget is None:
            return False
        if self.cut is not None:
            return self.cut
        if self.judged is None or self.judged.thinking is None:
            return None
        bound = max(0, self.decision.budget - self.undershoot)
        if self.judged.thinking < bound:
            return False
        return True if self.judged.thinking >= self.choices * bound else None

    @property
    def baseline_tokens(self) -> float | None:
        """Thinking tokens that all choices were expected to take at the baseline effort."""
        baseline = self.decision.baseline_tokens if self.decision else None
        return None if baseline is None else self.choices * baseline

    @property
    def expected_tokens(self) -> float | None:
        """Thinking tokens that all choices were expected to take at the effort they got."""
        decision = self.decision
        if decision is None or decision.estimate is None or not decision.calibrated:
            return None
        expected = decision.estimate.tokens.get(decision.effort)
        return None if expected is None else self.choices * expected

    def account(
        self, usage: Usage | None, cut: bool | None = None, second: bool = False
    ) -> dict[str, Any]:
        """Note what the engine reported so far; a second try adds to the first. Returns `tops`."""
        self.usage = self.usage + usage if second and self.usage and usage else usage
        self.judged, self.cut = usage, cut
        return self.tops()

    def raise_budget(self, budget: int) -> None:
        """Note that the request is tried once more, with a larger budget."""
        assert self.decision is not None
        self.decision = self.decision._replace(budget=budget)

    def tops(self) -> dict[str, Any]:
        """The `tops` object of the response body."""
        assert self.decision is not None
        baseline = self.baseline_tokens
        return {
            "effort": self.decision.effort,
            "source": self.decision.source,
            "budget": self.decision.budget,
            "budget_source": self.decision.budget_source,
            "budget_hit": self.budget_hit,
            "thinking_tokens": self.usage.thinking if self.usage else None,
            "baseline_tokens": None if baseline is None else round(baseline),
        }


class RequestTracker:
    """Opens and closes exchanges; knows from them what the engine is under.

    Args:
        metrics: where closed ones are counted.
        record: takes each closed one, and returns at once.
        workers: processes like this one, which are taken to have as much in flight.
    """

    def __init__(
        self,
        metrics: Metrics,
        record: Callable[[RequestRecord], None] | None = None,
        workers: int = 1,
    ) -> None:
        self._metrics = metrics
        self._workers = workers
        self._record = record
        self._in_flight = 0
        self._wait = 0.0
        self._waited = time.perf_counter()

    def load(self) -> Load:
        """Requests in flight now, and the recent time to a stream's first token, fading."""
        age = time.perf_counter() - self._waited
        return Load(self._workers * self._in_flight, self._wait * 0.5 ** (age / _WAIT_HALF_LIFE))

    async def idle(self, seconds: float) -> None:
        """Wait until every exchange is closed, but no longer than so many seconds."""
        until = time.perf_counter() + seconds
        while self._in_flight and time.perf_counter() < until:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(_LOOK_SECONDS)

    @contextmanager
    def open(self, request_id: str) -> Generator[RequestRecord]:
        """The account of one request, closed when the block is left."""
        exchange = RequestRecord(request_id)
        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        try:
            yield exchange
        except GatewayError as error:
            exchange.status = error.status
            raise
        except ClientDisconnected:
            exchange.status = CLIENT_LEFT
            raise
        except asyncio.CancelledError as error:  # nothing else than the gateway's end cancels it
            exchange.status = Stopping.status
            raise Stopping from error
        except BaseException:
            exchange.status = 500
            raise
        finally:
            exchange.closed = time.perf_counter()
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)
            if self._record is not None:
                self._record(exchange)
            _write_line(exchange)
            self._count(exchange)

    def _count(self, exchange: RequestRecord) -> None:
        metrics, decision = self._metrics, exchange.decision
        if decision is not None:
            metrics.pressure.set(decision.pressure)
        if decision is None:
            metrics.requests.labels(exchange.model, "", "", exchange.status).inc()
            return
        routed = (exchange.model, decision.effort, decision.source)
        metrics.requests.labels(*routed, exchange.status).inc()
        if decision.abstained:
            metrics.abstentions.labels(exchange.model).inc()
        if exchange.read and exchange.decided:
            metrics.decision.observe(exchange.decided - exchange.read)
        if exchange.read and exchange.forwarded:
            metrics.overhead.observe(exchange.forwarded - exchange.read)
        if exchange.status != 200:
            return
        self._count_tokens(exchange, decision, routed)
        self._count_times(exchange, (exchange.model, decision.effort))

    def _count_tokens(
        self, exchange: RequestRecord, decision: Decision, routed: tuple[str, str, str]
    ) -> None:
        metrics, usage = self._metrics, exchange.usage
        if usage is None:
            return
        metrics.prompt_tokens.labels(*routed).inc(usage.prompt)
        if usage.thinking is None:
            return
        metrics.thinking_tokens.labels(*routed).inc(usage.thinking)
        metrics.answer_tokens.labels(*routed).inc(usage.completion - usage.thinking)
        if exchange.baseline_tokens is not None:
            metrics.baseline_tokens.labels(*routed).inc(exchange.baseline_tokens)
        if exchange.expected_tokens is not None:
            metrics.expected_tokens.labels(*routed).inc(exchange.expected_tokens)
        if decision.draw is not None:
            self._count_arm((exchange.model, decision.draw.arm), usage.thinking, exchange)
        if decision.budget is not None:
            granted = exchange.choices * decision.budget
            metrics.budget_granted.labels(*routed).inc(granted)
            metrics.budget_hits.labels(*routed).inc(bool(exchange.budget_hit))
            if exchange.judged and (exchange.judged.thinking or 0) > granted:
                metrics.budget_violations.labels(exchange.model).inc()

    def _count_arm(self, labels: tuple[str, str], thinking: int, exchange: RequestRecord) -> None:
        metrics, expected = self._metrics, exchange.baseline_tokens or 0.0
        metrics.arm_requests.labels(*labels).inc()
        metrics.arm_thinking_tokens.labels(*labels).inc(thinking)
        metrics.arm_baseline_tokens.labels(*labels).inc(expected)
        metrics.arm_squared_misses.labels(*labels).inc((thinking - expected) ** 2)

    def _count_times(self, exchange: RequestRecord, labels: tuple[str, str]) -> None:
        assert exchange.closed is not None
        self._metrics.latency.labels(*labels).observe(exchange.closed - exchange.opened)
        if exchange.first_byte is None or not exchange.stream:
            return
        self._metrics.ttft.labels(*labels).observe(exchange.first_byte - exchange.opened)
        if exchange.forwarded is not None:
            self._note_wait(exchange.first_byte - exchange.forwarded)
        if exchange.usage and exchange.usage.completion > 1:
            spread = exchange.closed - exchange.first_byte
            self._metrics.tpot.labels(*labels).observe(spread / (exchange.usage.completion - 1))

    def _note_wait(self, seconds: float) -> None:
        """A running mean over streams, an eighth of it the newest."""
        faded = self.load().wait_seconds
        self._wait, self._waited = faded + (seconds - faded) / 8, time.perf_counter()


def _write_line(exchange: RequestRecord) -> None:
    assert exchange.closed is not None
    line: dict[str, Any] = {
        "request_id": exchange.request_id,
        "caller": exchange.caller,
        "model": exchange.model,
        "status": exchange.status,
        "seconds": round(exchange.closed - exchange.opened, 4),
    }
    if exchange.decision is not None:
        line |= exchange.tops() | {
            "arm": exchange.decision.arm,
            "reason": exchange.decision.reason,
            "abstained": exchange.decision.abstained,
        }
    if exchange.usage is not None:
        line |= {"prompt_tokens": exchange.usage.prompt, "answer_tokens": exchange.usage.answer}
    if exchange.prompt is not None:
        line["prompt"] = exchange.prompt
    tell("request", line)
