"""Pages and their files, which a strict content security policy confines to this gateway."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

_STATIC = Path(__file__).parent / "static"
_POLICY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def add_page(router: APIRouter, path: str, name: str) -> None:
    """Serve a file of the folder `static` at `path`; it is public."""

    @router.get(path, include_in_schema=False)
    async def file() -> FileResponse:
        return FileResponse(_STATIC / name, headers=_POLICY)


def add_assets(router: APIRouter) -> None:
    """Serve the styles and scripts of all pages below `/assets`."""
    for file in sorted(_STATIC.iterdir()):
        if file.suffix in (".css", ".js"):
            add_page(router, f"/assets/{file.name}", file.name)
