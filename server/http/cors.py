"""Cross-origin requests (CORS): which web pages may read the answers."""

from collections.abc import Callable, Sequence
from functools import partial

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp


def cors(origins: Sequence[str], headers: Sequence[str]) -> Callable[[ASGIApp], ASGIApp]:
    """A layer that lets pages of some origins, `*` for all, read answers with their `headers`."""
    return partial(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=("*",),
        allow_private_network=True,
        expose_headers=(*headers, "x-request-id", "request-id", "retry-after"),
    )
