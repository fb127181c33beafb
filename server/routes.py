"""The gateway's own routes, which ask no engine: models, decision, feedback, probes."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from server.api import chat
from server.api.served_model import for_model
from server.api_keys import ApiKeys
from server.config.settings import Settings
from server.decide.conversations import Conversations
from server.decide.decider import Decider
from server.decide.enforcement import Enforcement
from server.decide.explain import explain
from server.engines.fleet import Fleet
from server.http.body import BodyReader
from server.http.headers import headers_of
from server.ledger.feedback import Feedback
from server.lifecycle.tracker import RequestTracker
from server.observe.metrics import Metrics


def add_models(app: FastAPI, keys: ApiKeys, fleet: Fleet, decider: Decider) -> None:
    """The model list, and one model; both with the efforts that are offered."""

    @app.get("/v1/models")
    async def models(request: Request) -> JSONResponse:
        keys.caller(request.headers)
        served = fleet.resolve_model(None)
        names = dict.fromkeys((served.model, *served.aliases))
        cards = [served.card(name, decider.efforts) for name in names]
        return JSONResponse({"object": "list", "data": cards})

    @app.get("/v1/models/{model:path}")
    async def model(model: str, request: Request) -> JSONResponse:
        keys.caller(request.headers)
        return JSONResponse(fleet.resolve_model(model).card(model, decider.efforts))


def add_route(
    app: FastAPI,
    bodies: BodyReader,
    keys: ApiKeys,
    conversations: Conversations,
    decider: Decider,
    fleet: Fleet,
    tracker: RequestTracker,
) -> None:
    """`POST /v1/route`, which explains the decision that a chat request would get."""

    @app.post("/v1/route")
    async def route(request: Request) -> JSONResponse:
        caller = keys.caller(request.headers)
        with caller.limit():
            body = await bodies.read(request.receive)
            parsed = chat.parse(body, headers_of(request.scope))
            model = fleet.resolve_model(parsed.model)
            parsed = for_model(parsed, model, chat.PATH)
            thread = await conversations.thread(parsed, caller.name)
            if thread.evidence is None:  # the arm is drawn when the request is sent
                thread = thread._replace(conversation="")
            enforcement = Enforcement(parsed, fleet.budget_support, fleet.dialect, chat.PATH)
            load = tracker.load()
            decision = decider.decide(parsed, caller, model, load, thread, enforcement)
            decision = enforcement.check(decision)
            sources = decider.kinds.sources(parsed, caller, model)
            return JSONResponse(explain(parsed, decision, thread, sources))


def add_feedback(app: FastAPI, bodies: BodyReader, keys: ApiKeys, feedback: Feedback) -> None:
    """`POST /v1/feedback`, which says whether answers were right."""

    @app.post("/v1/feedback")
    async def note(request: Request) -> JSONResponse:
        caller = keys.caller(request.headers)
        body = await bodies.read(request.receive)
        headers = headers_of(request.scope)
        return JSONResponse(await feedback.note(body, headers, caller.name))


def add_operations(
    app: FastAPI, settings: Settings, decider: Decider, fleet: Fleet, metrics: Metrics
) -> None:
    """Routes for probes and Prometheus: without API key, and without private data."""

    @app.api_route("/health", methods=["GET", "HEAD"])
    async def health() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @app.api_route("/ready", methods=["GET", "HEAD"])
    async def ready() -> JSONResponse:
        model = fleet.health.model_info.model if fleet.health.model_info else None
        state = {
            "engine": fleet.health.up,
            "model": model,
            "efforts": decider.efforts,
            "effort_budgets": settings.effort_budgets,
            "router": decider.router_for(model).state,
            "budgets": fleet.budget_support.state,
            "engines": fleet.health.states(),
        }
        return JSONResponse(state, status_code=200 if fleet.health.up else 503)

    @app.get("/metrics")
    async def prometheus(request: Request) -> Response:
        if fleet.health.model_info is not None:
            model = fleet.health.model_info.model
            metrics.declare(model)
            metrics.router_loaded.labels(model).set(decider.router_for(model).artifact is not None)
            max_loss = settings.max_loss if settings.policy == "quality" else 1
            metrics.max_loss.labels(model).set(max_loss)
        text, content_type = metrics.exposition(request.headers.get("accept", ""))
        return Response(text, media_type=content_type)
