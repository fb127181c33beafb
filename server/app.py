"""Builds the gateway from its settings: dependencies are arguments, nothing is global."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp

from router.router import Router
from server.api import chat, messages, responses
from server.api.protocol import Api
from server.api_keys import ApiKeys
from server.chat_templates.efforts import TemplateEfforts
from server.config.engine_command import engine_command
from server.config.model_template import dialect_of, template_efforts
from server.config.served_template import ServedTemplate
from server.config.settings import Settings, is_loopback
from server.config.shared import Shared
from server.dashboard.data import DashboardData
from server.dashboard.routes import dashboard_routes
from server.dashboard.state import state
from server.dashboard.try_page import try_routes
from server.decide.conversations import Conversations
from server.decide.decider import Decider
from server.decide.headers import DECISION_HEADERS
from server.decide.holdout import Holdout, Shares
from server.decide.turn_memory import TurnMemory
from server.endpoints.completions import Completions
from server.endpoints.passthrough import Passthrough
from server.endpoints.reasoning import ReasoningEndpoint
from server.engines.dialect import Dialect
from server.engines.engine import Engine
from server.engines.fleet import Fleet
from server.engines.supervisor import Supervisor
from server.error_handlers import add_error_handlers, envelope
from server.gateway import Gateway
from server.http.body import BodyReader
from server.http.browser_guard import BrowserGuard
from server.http.cors import cors
from server.http.request_id import RequestId
from server.ledger.feedback import Feedback
from server.ledger.opening import open_ledger
from server.ledger.session_use import SessionUse
from server.ledger.turns import TurnArchive
from server.ledger.writer import Ledger
from server.lifecycle.in_flight_table import InFlightTable
from server.lifecycle.tracker import RequestTracker
from server.limits.key_limits import KeyLimits
from server.limits.limit_headers import ANTHROPIC_HEADERS, OPENAI_HEADERS, SESSION_HEADERS
from server.limits.opening import open_limits, open_session_budgets
from server.limits.session_budgets import SessionBudgets
from server.observe.metrics import Metrics
from server.routes import add_feedback, add_models, add_operations, add_route
from server.savings.prices import Prices

if TYPE_CHECKING:
    from server.lifecycle.trace import Tracing

_IDLE_SECONDS = 2.0
"""Time for requests that were cancelled at shutdown to send their error and to be counted."""


def create_app(settings: Settings, router: Router, shared: Shared | None = None) -> Gateway:
    """The gateway as an ASGI application; its lifespan owns the engine's process and connections.

    Args:
        settings: resolved settings.
        router: decides efforts; see `server.config.load_router.load_router`.
        shared: what the workers of one gateway have in common; None if this process serves alone.

    Raises:
        LedgerError: the ledger cannot be used as it is.
    """
    metrics = Metrics()
    ledger, key = open_ledger(settings, metrics, shared.key if shared else None)
    holdout = Holdout(Shares(settings.holdout_share, settings.exploration_share), key)
    template = template_efforts(settings)
    fleet, supervisor = _engines(settings, template, shared, metrics)
    conversations = Conversations(
        key,
        TurnMemory(memoryview(shared.turns).cast("B") if shared else None),
        TurnArchive(ledger.engine).find if ledger else None,
        by_opening=fleet.has_alternatives,
    )
    if ledger is not None:
        ledger.on_key = partial(_set_keys, holdout, conversations)
    decider = Decider(settings, router, holdout, lambda: fleet.withheld_efforts)
    _follow_template(settings, template, decider, fleet)
    tracing = _tracing(settings)
    on_close = ledger.record if ledger else None
    in_flight = InFlightTable(shared.in_flight, len(settings.keys)) if shared else None
    tracker = RequestTracker(metrics, on_close, in_flight, tracing, _call_soon)
    bodies = BodyReader(settings.max_body_bytes, settings.max_body_values, settings.body_timeout)
    keys = ApiKeys(settings.keys, in_flight.of_key if in_flight else None, settings.session)
    limits = open_limits(settings, metrics, shared.limits if shared else None)
    sessions = open_session_budgets(
        settings,
        metrics,
        shared.sessions if shared else None,
        SessionUse(ledger.engine).find if ledger else None,
    )
    apis: tuple[Api, ...] = (chat, responses, messages)
    endpoints: dict[str, ASGIApp] = {
        f"/v1{api.PATH}": ReasoningEndpoint(
            api, settings, bodies, keys, limits, sessions, conversations, decider, fleet, tracker
        )
        for api in apis
    }
    endpoints["/v1/completions"] = Completions(settings, bodies, keys, limits, fleet, tracker)
    for path in ("/embeddings", "/messages/count_tokens"):
        endpoints[f"/v1{path}"] = Passthrough(path, bodies, keys, limits, fleet, tracker)
    lifespan = partial(_lifespan, ledger, fleet, limits, sessions, supervisor, tracker, shared)
    app = FastAPI(title="TOPS gateway", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.openapi = _openapi
    app.add_middleware(RequestId)
    add_error_handlers(app)
    for path, endpoint in endpoints.items():  # the Gateway takes POST; others get a 405 here
        app.router.routes.append(Route(path, endpoint, methods=["POST"]))
    add_models(app, keys, fleet, decider)
    add_route(app, bodies, keys, conversations, decider, fleet, tracker)
    add_feedback(app, bodies, keys, Feedback(ledger, metrics, conversations))
    prices = Prices.of(settings.prices, settings.completion_price)
    data = DashboardData(ledger.engine, prices) if ledger else None
    app.include_router(dashboard_routes(keys, data, partial(state, decider, fleet, metrics)))
    app.include_router(try_routes(settings, keys, decider, fleet))
    add_operations(app, settings, decider, fleet, metrics)
    return Gateway(
        app, endpoints, envelope, fleet, metrics, supervisor, _guard(settings), _cors(settings)
    )


def _call_soon(function: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(function)


def _follow_template(
    settings: Settings, template: TemplateEfforts | None, decider: Decider, fleet: Fleet
) -> None:
    """Follow the template of a llama.cpp that somebody else runs: it may come up later."""

    def adopt(settings: Settings, router: Router, dialect: Dialect) -> None:
        decider.adopt(settings, router)
        fleet.adopt(dialect, settings.offered_efforts[-1], settings.measured_efforts)

    if settings.upstream and settings.dialect == "llama.cpp":
        fleet.health.read_template = ServedTemplate(settings, template, adopt).read


def _tracing(settings: Settings) -> "Tracing | None":
    if not settings.tracing:
        return None
    from server.lifecycle.trace_export import start_tracing  # noqa: PLC0415 - an extra

    return start_tracing(settings.dialect)


async def _stop_tracing(tracing: "Tracing") -> None:
    from server.lifecycle.trace_export import stop_tracing  # noqa: PLC0415 - an extra

    await stop_tracing(tracing)


def _openapi() -> dict[str, Any]:
    from server.openapi.document import openapi_document  # noqa: PLC0415 - few ask for it

    return openapi_document()


def _guard(settings: Settings) -> BrowserGuard | None:
    """None with API keys, which no page of a stranger has."""
    if settings.keys:
        return None
    is_local = is_loopback(settings.host)
    hosts = settings.allowed_hosts if settings.allowed_hosts or is_local else None
    return BrowserGuard(hosts, settings.cors_origins)


def _cors(settings: Settings) -> Callable[[ASGIApp], ASGIApp] | None:
    origins = settings.cors_origins
    return (
        cors(origins, (*DECISION_HEADERS, *OPENAI_HEADERS, *ANTHROPIC_HEADERS, *SESSION_HEADERS))
        if origins
        else None
    )


def _set_keys(holdout: Holdout, conversations: Conversations, key: bytes) -> None:
    holdout.set_key(key)
    conversations.set_key(key)


def _engines(
    settings: Settings,
    template: TemplateEfforts | None,
    shared: Shared | None,
    metrics: Metrics,
) -> tuple[Fleet, Supervisor | None]:
    """The engines, and the supervisor of the one that this process starts, if it starts one."""
    urls, model, command, explain, transition = settings.upstream, settings.model, None, None, ""
    if not urls:
        running = shared.engine if shared else None
        engine = running or engine_command(settings)
        urls, model = (engine.url,), engine.model
        command, explain = None if running else engine.command, engine.explain
        transition = engine.transition
    secret = settings.upstream_api_key
    api_key = secret.get_secret_value() if secret else None
    fleet = Fleet(
        [Engine(url, api_key, settings.upstream_timeout, transition) for url in urls],
        dialect_of(settings, template),
        model,
        settings.offered_efforts[-1],
        metrics,
        settings.aliases,
        settings.measured_efforts,
        shared.folder if shared else None,
    )
    if command is None:
        return fleet, None
    was_up, count = fleet.health.ready.is_set, metrics.engine_restarts.inc
    return fleet, Supervisor(command, was_up, count, explain)


@asynccontextmanager
async def _lifespan(
    ledger: Ledger | None,
    fleet: Fleet,
    limits: KeyLimits,
    sessions: SessionBudgets | None,
    supervisor: Supervisor | None,
    tracker: RequestTracker,
    shared: Shared | None,
    _: FastAPI,
) -> AsyncGenerator[None]:
    """Run what the requests need; at the end, in reverse order, wait for requests first."""
    async with AsyncExitStack() as stack:
        if supervisor is not None:
            await stack.enter_async_context(supervisor.running())
        await stack.enter_async_context(fleet.connected())
        if ledger is not None:
            ledger.start()
            stack.callback(ledger.stop)
        if tracker.tracing is not None:
            stack.push_async_callback(_stop_tracing, tracker.tracing)
        stack.push_async_callback(limits.close)
        if sessions is not None:
            stack.push_async_callback(sessions.close)
        stack.push_async_callback(tracker.idle, _IDLE_SECONDS)
        if shared is not None:
            await stack.enter_async_context(shared.awaiting(fleet.health.ready))
        yield
