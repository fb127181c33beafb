"""Adds requests to the summaries, a chunk at a time, from the thread that writes the ledger."""

import time
from collections.abc import Callable

from sqlalchemy import Engine

from server.ledger.summaries import CHUNK_ROWS, add_new

_ROWS = 5_000
_SECONDS = 20.0


class Summarizer:
    """Adds new requests after each `_ROWS` of them, or `_SECONDS`; at once where more wait.

    Args:
        engine: the database's, with tables.
        steady: seconds that never jump.
    """

    def __init__(self, engine: Engine, steady: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._steady = steady
        self._applied_at = steady()
        self._written = 0
        self._waiting = 0
        self._is_stuck = False

    def note(self, rows: int) -> None:
        """Count rows that were written."""
        self._written += rows

    def apply(self) -> None:
        """Add a chunk if it is time to. Raises DBAPIError."""
        if not (self._is_due() or (self._waiting > CHUNK_ROWS and not self._is_stuck)):
            return
        before, self._waiting = self._waiting, add_new(self._engine)
        self._is_stuck = self._waiting >= before
        self._written, self._applied_at = 0, self._steady()

    def _is_due(self) -> bool:
        return self._written >= _ROWS or self._steady() - self._applied_at >= _SECONDS
