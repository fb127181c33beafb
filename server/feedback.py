"""`POST /v1/feedback`: whether an answer was right, noted beside its request in the ledger."""

import asyncio
from collections.abc import Mapping
from typing import Any

from server.errors import BadRequest, LedgerUnavailable, UnknownRequest
from server.ledger.schema import LedgerDown
from server.ledger.writer import Ledger

_FIELDS = ("request_id", "correct", "score")


async def note_feedback(ledger: Ledger | None, body: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Note it; the answer repeats what is noted now. Later feedback replaces earlier.

    Raises:
        BadRequest: the body is not `request_id` with `correct` or `score`.
        UnknownRequest: this key has no such request in the ledger.
        LedgerUnavailable: there is no ledger, or it cannot be written now.
    """
    request_id, score = _read(body)
    if ledger is None:
        raise LedgerUnavailable("feedback is kept in the ledger, and this gateway has none")
    try:
        found = await asyncio.to_thread(ledger.score, request_id, key, score)
    except LedgerDown as error:
        raise LedgerUnavailable(str(error)) from error
    if not found:
        raise UnknownRequest(f"the ledger has no request {request_id!r} of this key", "request_id")
    return {"request_id": request_id, "score": score}


def _read(body: Mapping[str, Any]) -> tuple[str, float]:
    for name in body:
        if name not in _FIELDS:
            raise BadRequest(f"unknown field {name}: feedback has {', '.join(_FIELDS)}", name)
    request_id, correct, score = (body.get(name) for name in _FIELDS)
    if not isinstance(request_id, str) or not 0 < len(request_id) <= 128:
        raise BadRequest("request_id must be what x-request-id said", "request_id")
    if (correct is None) == (score is None):
        raise BadRequest("give either correct (true or false) or score (0 to 1)", "score")
    if correct is not None:
        if not isinstance(correct, bool):
            raise BadRequest("correct must be true or false", "correct")
        return request_id, float(correct)
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise BadRequest("score must be a number from 0 to 1", "score")
    return request_id, float(score)
