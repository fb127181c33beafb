"""`/dashboard`: the page and its data."""

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from server.api_keys import ApiKeys
from server.dashboard.assets import add_assets, add_page
from server.dashboard.data import RANGES, DashboardData
from server.errors import BadRequest, LedgerUnavailable
from server.ledger.schema import LedgerDown


def dashboard_routes(
    keys: ApiKeys, data: DashboardData | None, state: Callable[[], dict[str, Any]]
) -> APIRouter:
    """Routes of the page, which is public, and of its data.

    Where API keys are set, the data needs one, and is of that key's requests unless it may see all.

    Without a ledger, `data` is None and the data route answers 503. `state` tells of this moment.
    """
    router = APIRouter()

    add_page(router, "/dashboard", "dashboard.html")
    add_assets(router)

    @router.get("/dashboard/data")
    async def read(request: Request) -> JSONResponse:
        caller = keys.caller(request.headers)
        key = caller.name if caller.dashboard == "own" else None
        name = request.query_params.get("range")
        if name is not None and name not in RANGES:
            raise BadRequest(f"range must be one of {', '.join(RANGES)}, not {name!r}", "range")
        if data is None:
            raise LedgerUnavailable("the dashboard needs a ledger, and this gateway has none")
        try:
            shown = name or await asyncio.to_thread(data.shortest, key)
            figures = await asyncio.to_thread(data.read, shown, key)
            return JSONResponse({**figures, "now": await asyncio.to_thread(state)})
        except LedgerDown as error:
            raise LedgerUnavailable(str(error)) from error

    return router
