"""`/dashboard`: the page, its two files, and its data."""

import asyncio
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse

from server.api_keys import ApiKeys
from server.dashboard.data import RANGES, DashboardData
from server.errors import BadRequest, LedgerUnavailable
from server.ledger.schema import LedgerDown

_STATIC = Path(__file__).parent / "static"
_POLICY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def dashboard_routes(keys: ApiKeys, data: DashboardData | None) -> APIRouter:
    """Routes of the page, which is public, and of its data.

    Where API keys are set, the data needs one, and is of that key's requests unless it may see all.

    Without a ledger, `data` is None and the data route answers 503.
    """
    router = APIRouter()

    def serve(path: str, name: str) -> None:
        @router.get(path, include_in_schema=False)
        async def file() -> FileResponse:
            return FileResponse(_STATIC / name, headers=_POLICY)

    serve("/dashboard", "index.html")
    serve("/dashboard/dashboard.css", "dashboard.css")
    serve("/dashboard/dashboard.js", "dashboard.js")

    @router.get("/dashboard/data")
    async def read(request: Request) -> JSONResponse:
        caller = keys.caller(request.headers)
        key = caller.name if caller.dashboard == "own" else None
        name = request.query_params.get("range", "24h")
        if name not in RANGES:
            raise BadRequest(f"range must be one of {', '.join(RANGES)}, not {name!r}", "range")
        if data is None:
            raise LedgerUnavailable("the dashboard needs a ledger, and this gateway has none")
        try:
            return JSONResponse(await asyncio.to_thread(data.read, name, key))
        except LedgerDown as error:
            raise LedgerUnavailable(str(error)) from error

    return router
