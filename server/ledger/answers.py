"""Finds answers in the ledger by their hashes: those of other gateways, and of before a restart."""

import asyncio
import time
from collections.abc import Sequence

from sqlalchemy import Engine, select

from router.effort import Effort, is_effort
from server.ledger.reader import reading
from server.ledger.schema import LedgerDown, requests

_TIMEOUT_SECONDS = 0.5
_RETRY_SECONDS = 10.0
"""No request waits for a ledger that did not answer, for so long."""
_MAX_ROWS = 256


class AnswerArchive:
    """The answers in one ledger's rows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._down_until = 0.0

    async def find(self, hashes: Sequence[int]) -> Sequence[tuple[int, str, Effort | None]] | None:
        """Hash, conversation and effort of each answer that is there; None if it cannot be read."""
        if time.monotonic() < self._down_until:
            return None
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return await asyncio.to_thread(self._select, hashes)
        except (TimeoutError, LedgerDown):
            self._down_until = time.monotonic() + _RETRY_SECONDS
            return None

    def _select(self, hashes: Sequence[int]) -> list[tuple[int, str, Effort | None]]:
        columns = requests.c
        query = (
            select(columns.answer, columns.conversation, columns.routed)
            .where(columns.answer.in_(hashes), columns.conversation.is_not(None))
            .order_by(columns.id.desc())
            .limit(_MAX_ROWS)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        return [
            (answer, conversation, routed if routed and is_effort(routed) else None)
            for answer, conversation, routed in rows
        ]
