"""Engines of ledgers that are disposed of when the test that made them ends."""

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Engine

from server.ledger import schema

_engines: list[Engine] = []


def connect(url: str) -> Engine:
    """As `server.ledger.schema.connect`; connections that are left open warn on Python 3.13."""
    _engines.append(schema.connect(url))
    return _engines[-1]


@contextmanager
def disposed_engines() -> Generator[None]:
    """Dispose at last of the engines that `connect` made."""
    try:
        yield
    finally:
        while _engines:
            _engines.pop().dispose()
