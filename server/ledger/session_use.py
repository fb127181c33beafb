"""What a conversation has used so far, by the ledger: for budgets of sessions after a restart."""

import asyncio
import time

from sqlalchemy import Engine, and_, case, func, select

from server.ledger.reader import reading
from server.ledger.schema import LedgerDown
from server.ledger.tables import requests

_TIMEOUT_SECONDS = 0.5
_RETRY_SECONDS = 10.0
"""No request waits for a ledger that did not answer, for so long."""


class SessionUse:
    """Reads the turns and thinking tokens of conversations."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._down_until = 0.0

    async def find(self, conversation: str) -> tuple[float, float] | None:
        """Turns that were not refused, and thinking tokens; None if the ledger cannot be read."""
        if time.monotonic() < self._down_until:
            return None
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return await asyncio.to_thread(self._read, conversation)
        except (TimeoutError, LedgerDown):
            self._down_until = time.monotonic() + _RETRY_SECONDS
            return None

    def _read(self, conversation: str) -> tuple[float, float]:
        with reading(self._engine) as connection:
            columns = requests.c
            refused = and_(columns.status >= 400, columns.status < 499)
            turns = func.sum(case((refused, 0), else_=1))
            used = select(turns, func.sum(columns.thinking_tokens))
            row = connection.execute(used.where(columns.conversation == conversation)).one()
        return float(row[0] or 0), float(row[1] or 0)
