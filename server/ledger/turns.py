"""Finds turns in the ledger: those of other gateways, and of before a restart."""

import asyncio
import time
from collections.abc import Sequence

from sqlalchemy import Engine, select

from router.composite import parse_composite
from router.effort import Effort, is_effort
from server.decide.conversations import ArchivedTurn, Kind
from server.ledger.reader import reading
from server.ledger.schema import LedgerDown, requests

_TIMEOUT_SECONDS = 0.5
_RETRY_SECONDS = 10.0
"""No request waits for a ledger that did not answer, for so long."""
_MAX_ROWS = 256


class TurnArchive:
    """The turns in one ledger's rows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._down_until = 0.0

    async def find(self, kind: Kind, hashes: Sequence[int]) -> Sequence[ArchivedTurn] | None:
        """The turns that gave any of the answers, or the latest of an agent.

        Hash, conversation and effort of each, latest first; None if the ledger cannot be read.
        """
        if time.monotonic() < self._down_until:
            return None
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return await asyncio.to_thread(self._select, kind, hashes)
        except (TimeoutError, LedgerDown):
            self._down_until = time.monotonic() + _RETRY_SECONDS
            return None

    def _select(self, kind: Kind, hashes: Sequence[int]) -> list[ArchivedTurn]:
        columns = requests.c
        query = (
            select(columns[kind], columns.conversation, columns.routed)
            .where(columns[kind].in_(hashes), columns.conversation.is_not(None))
            .order_by(columns.id.desc())
        )
        if kind == "agent":
            query = query.where(columns.routed.is_not(None))
        with reading(self._engine) as connection:
            rows = connection.execute(query.limit(1 if kind == "agent" else _MAX_ROWS)).all()
        return [(stored, conversation, _effort(routed)) for stored, conversation, routed in rows]


def _effort(routed: str | None) -> Effort | None:
    """The effort that a turn had; of a composite one the dear effort, which may have answered."""
    if routed is not None and not is_effort(routed):
        try:
            routed = parse_composite(routed).dear
        except ValueError:  # of a newer version
            return None
    return routed if routed and is_effort(routed) else None
