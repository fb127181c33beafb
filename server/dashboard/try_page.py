"""`/`: a page on which to ask a question and see how much was thought; and what it may offer."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from server.api_keys import ApiKeys, Caller
from server.config.settings import DEMO as DEMO_FOLDER
from server.config.settings import Settings
from server.dashboard.assets import add_page
from server.decide.decider import Decider
from server.engines.fleet import Fleet


def try_routes(settings: Settings, keys: ApiKeys, decider: Decider, fleet: Fleet) -> APIRouter:
    """Routes of the page, which is public, and of what it offers to the holder of a key."""
    router = APIRouter()
    add_page(router, "/", "try.html")
    add_page(router, "/help", "help.html")

    @router.get("/try/data")
    async def read(request: Request) -> JSONResponse:
        caller = keys.caller(request.headers)
        return JSONResponse(_offer(settings, caller, decider, fleet))

    return router


def _offer(settings: Settings, caller: Caller, decider: Decider, fleet: Fleet) -> dict[str, Any]:
    """The efforts and the largest budget of the caller; `model` is null while no engine is up."""
    served = fleet.health.model_info
    model = served.model if served else None
    return {
        "model": model,
        "router": decider.router_for(model).state,
        "budgets": fleet.budget_support.state,
        "efforts": [*decider.allowed(caller)],
        "baseline": decider.baseline,
        "max_budget": caller.max_budget,
        "context": served.context if served else None,
        "ledger": bool(settings.ledger),
        "is_demo": settings.folder == DEMO_FOLDER,
    }
