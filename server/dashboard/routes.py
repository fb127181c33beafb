"""`/dashboard`: the page, its two files, and its data."""

import asyncio
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Route

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


def dashboard_routes(keys: ApiKeys, data: DashboardData | None) -> list[Route]:
    """Routes of the page, which is public, and of its data.

    Where API keys are set, the data needs one, and is of that key's requests unless it may see all.

    Without a ledger, `data` is None and the data route answers 503.
    """

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

    return [
        _file("/dashboard", "index.html"),
        _file("/dashboard/dashboard.css", "dashboard.css"),
        _file("/dashboard/dashboard.js", "dashboard.js"),
        Route("/dashboard/data", read),
    ]


def _file(path: str, name: str) -> Route:
    async def file(_: Request) -> FileResponse:
        return FileResponse(_STATIC / name, headers=_POLICY)

    return Route(path, file)
