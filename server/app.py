"""Builds the gateway from its settings: dependencies are arguments, nothing is global."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.routing import Route

from router.router import Router
from server.asked import parse_asked
from server.body import read_object
from server.chat import ChatCompletions
from server.dashboard.data import DashboardData
from server.dashboard.routes import dashboard_routes
from server.decision import Decider
from server.dry_run import explain
from server.engine import Engine
from server.errors import GatewayError, error_envelope
from server.exchange import Accounts
from server.feedback import Feedback
from server.holdout import Holdout, Shares
from server.keys import Keys
from server.ledger.opening import open_ledger
from server.metrics import Metrics
from server.request_id import RequestId
from server.settings import Settings
from server.supervisor import embedded_command, free_port, supervised


def create_app(settings: Settings, router: Router) -> FastAPI:
    """The gateway as an ASGI application; its lifespan owns the engine's process and connections.

    Args:
        settings: resolved settings.
        router: decides efforts; see `server.artifact.load_router`.

    Raises:
        LedgerError: the ledger cannot be used as it is.
    """
    metrics = Metrics()
    ledger, key = open_ledger(settings, metrics)
    holdout = Holdout(Shares(settings.holdout_share, settings.explore_share), key)
    decider = Decider(settings, router, holdout)
    url, model = settings.upstream, settings.model
    command: list[str] | None = None
    if url is None:
        port = free_port()
        url, model = f"http://127.0.0.1:{port}", model or settings.checkpoint.name
        command = embedded_command(settings.checkpoint, model, port, settings.engine_workers)
    secret = settings.upstream_api_key
    api_key = secret.get_secret_value() if secret else None
    engine = Engine(url, model, api_key, settings.silence_seconds)
    metrics.engine_up.set_function(lambda: float(engine.up))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            if command is not None:
                await stack.enter_async_context(supervised(command, metrics.engine_restarts))
            await stack.enter_async_context(engine.connected())
            if ledger is not None:
                ledger.start()
                stack.callback(ledger.stop)
            yield

    app = FastAPI(title="TOPS gateway", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.engine = engine
    app.add_middleware(RequestId)
    app.add_exception_handler(GatewayError, _gateway_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)
    keys = Keys(settings.keys)
    accounts = Accounts(metrics, ledger.record if ledger else None)
    chat = ChatCompletions(settings, keys, decider, engine, accounts)
    app.router.routes.append(Route("/v1/chat/completions", chat, methods=["POST"]))
    _add_api(app, settings, keys, decider, engine, accounts)
    _add_feedback(app, settings, keys, Feedback(ledger, metrics))
    data = DashboardData(ledger.engine, settings.completion_price) if ledger else None
    app.include_router(dashboard_routes(keys, data))
    _add_operations(app, decider, engine, metrics)
    return app


def _add_api(
    app: FastAPI,
    settings: Settings,
    keys: Keys,
    decider: Decider,
    engine: Engine,
    accounts: Accounts,
) -> None:
    """What a caller may ask besides completions."""

    @app.get("/v1/models")
    async def models(request: Request) -> JSONResponse:
        keys.caller(request.headers)
        return JSONResponse({"object": "list", "data": [engine.served_as(None).card()]})

    @app.post("/v1/route")
    async def route(request: Request) -> JSONResponse:
        caller = keys.caller(request.headers)
        body = await read_object(request.receive, settings.max_body_bytes, settings.body_seconds)
        asked = parse_asked(body, request.headers)
        served = engine.served_as(asked.model)
        decision = decider.decide(asked, caller, served, accounts.load(), remember=False)
        return JSONResponse(explain(asked, decision))


def _add_feedback(app: FastAPI, settings: Settings, keys: Keys, feedback: Feedback) -> None:
    @app.post("/v1/feedback")
    async def note(request: Request) -> JSONResponse:
        caller = keys.caller(request.headers)
        body = await read_object(request.receive, settings.max_body_bytes, settings.body_seconds)
        return JSONResponse(await feedback.note(body, caller.name))


def _add_operations(app: FastAPI, decider: Decider, engine: Engine, metrics: Metrics) -> None:
    """What an operator's tools ask; open, and without anything private."""

    @app.get("/health")
    async def health() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @app.get("/ready")
    async def ready() -> JSONResponse:
        model = engine.served.model if engine.served else None
        state = {"engine": engine.up, "model": model, "router": decider.router_for(model).state}
        return JSONResponse(state, status_code=200 if engine.up else 503)

    @app.get("/metrics")
    async def prometheus() -> Response:
        if engine.served is not None:
            metrics.declare(engine.served.model)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _gateway_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    return JSONResponse(error.envelope(), status_code=error.status, headers=error.headers())


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = {
        404: f"there is no {request.url.path} here",
        405: f"{request.url.path} does not answer {request.method}",
    }.get(error.status_code, str(error.detail))
    envelope = error_envelope(what, "invalid_request_error")
    return JSONResponse(envelope, status_code=error.status_code, headers=error.headers)


def _unexpected(_: Request, error: Exception) -> Response:
    message = f"the gateway failed on this request ({type(error).__name__}); see its log"
    return JSONResponse(error_envelope(message, "server_error"), status_code=500)
