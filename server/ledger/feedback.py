"""`POST /v1/feedback`: whether an answer was right, stored in the row of its request."""

import asyncio
from collections.abc import Mapping
from typing import Any

from server.errors import BadRequest, LedgerUnavailable, UnknownRequest
from server.ledger.reader import Row
from server.ledger.schema import LedgerDown
from server.ledger.writer import Ledger
from server.observe.metrics import Metrics

_FIELDS = ("request_id", "correct", "score")


class Feedback:
    """Validates feedback, stores it, and counts it in the metrics."""

    def __init__(self, ledger: Ledger | None, metrics: Metrics) -> None:
        self._ledger = ledger
        self._metrics = metrics

    async def note(self, body: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Store feedback, and return it as stored; later feedback replaces earlier.

        Raises:
            BadRequest: the body is not `request_id` with `correct` or `score`.
            UnknownRequest: this key has no such request in the ledger.
            LedgerUnavailable: there is no ledger, or it cannot be written now.
        """
        request_id, score = _read(body)
        if self._ledger is None:
            raise LedgerUnavailable("feedback needs a ledger, and this gateway has none")
        try:
            row = await asyncio.to_thread(self._ledger.score, request_id, key, score)
        except LedgerDown as error:
            raise LedgerUnavailable(str(error)) from error
        if row is None:
            raise UnknownRequest(f"the ledger has no request {request_id!r} of this API key")
        self._count(row, score)
        return {"request_id": request_id, "score": score}

    def _count(self, row: Row, score: float) -> None:
        if row["score"] is not None:  # it replaces what was counted
            return
        chances: Mapping[str, float] = row["p_correct"] or {}
        expected = chances.get(row["effort"])
        estimated = "false" if expected is None else "true"
        labels = row["model"], row["arm"] or "explicit", estimated
        self._metrics.feedback.labels(*labels).inc()
        self._metrics.feedback_score.labels(*labels).inc(score)
        if expected is not None:
            self._metrics.feedback_expected.labels(*labels).inc(expected)


def _read(body: Mapping[str, Any]) -> tuple[str, float]:
    for name in body:
        if name not in _FIELDS:
            raise BadRequest(
                f"unknown field {name}: the fields of feedback are {', '.join(_FIELDS)}", name
            )
    request_id, correct, score = (body.get(name) for name in _FIELDS)
    if not isinstance(request_id, str) or not 0 < len(request_id) <= 128:
        raise BadRequest("request_id must be the header x-request-id of the response", "request_id")
    if (correct is None) == (score is None):
        raise BadRequest("set either correct (true or false) or score (0 to 1)", "score")
    if correct is not None:
        if not isinstance(correct, bool):
            raise BadRequest("correct must be true or false", "correct")
        return request_id, float(correct)
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise BadRequest("score must be a number from 0 to 1", "score")
    return request_id, float(score)
