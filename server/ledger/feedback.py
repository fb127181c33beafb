"""`POST /v1/feedback`: whether an answer was right, or a conversation solved its task.

The former is stored in the row of its request, the latter beside the conversation's sums.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from server.api.session import BODY_NAMES
from server.decide.conversations import Conversations
from server.errors import BadRequest, LedgerUnavailable, UnknownRequest
from server.ledger.conversation_reference import is_id, read_reference
from server.ledger.conversation_scores import by_conversation, by_request, by_response
from server.ledger.reader import Row
from server.ledger.schema import LedgerDown
from server.ledger.writer import Ledger
from server.observe.metrics import Metrics

_FIELDS = ("request_id", "correct", "score")
_OF_CONVERSATIONS = ("solved", "conversation", "response_id", *BODY_NAMES)
"""Any body field that names a conversation in other requests names it here too."""


class Feedback:
    """Validates feedback, stores it, and counts that on requests in the metrics."""

    def __init__(
        self, ledger: Ledger | None, metrics: Metrics, conversations: Conversations
    ) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._conversations = conversations

    async def note(
        self, body: Mapping[str, Any], headers: Mapping[str, str], key: str
    ) -> dict[str, Any]:
        """Store feedback, and return it as stored; later feedback replaces earlier.

        Args:
            body: the JSON object: `request_id` with `correct` or `score`, or `solved` with what
                names a conversation.
            headers: of the request, which may name a conversation.
            key: the name of the API key.

        Raises:
            BadRequest: the body is neither.
            UnknownRequest: this key has no such request or conversation in the ledger.
            LedgerUnavailable: there is no ledger, or it cannot be written now.
        """
        _check_names(body)
        if "solved" in body:
            return await self._note_conversation(body, headers, key)
        request_id, score = _read(body)
        ledger = self._require_ledger()
        try:
            row = await asyncio.to_thread(ledger.score, request_id, key, score)
        except LedgerDown as error:
            raise LedgerUnavailable(str(error)) from error
        if row is None:
            raise UnknownRequest(f"the ledger has no request {request_id!r} of this API key")
        self._count(row, score)
        return {"request_id": request_id, "score": score}

    async def _note_conversation(
        self, body: Mapping[str, Any], headers: Mapping[str, str], key: str
    ) -> dict[str, Any]:
        score = _read_solved(body)
        subject = read_reference(body, headers)
        ledger = self._require_ledger()
        if subject.session is not None:
            name = await self._conversations.named_conversation(subject.session, key)
            search = by_conversation(name, key)
        elif subject.response_id is not None:
            search = by_response(self._conversations.response_hash(key, subject.response_id), key)
        else:
            search = by_request(str(subject.request_id), key)
        try:
            is_known = await asyncio.to_thread(ledger.score_conversation, search, key, score)
        except LedgerDown as error:
            raise LedgerUnavailable(str(error)) from error
        if not is_known:
            raise UnknownRequest(
                f"the ledger has no conversation of this API key that {subject.field} names"
            )
        return {"named_by": subject.field, "solved": score}

    def _require_ledger(self) -> Ledger:
        if self._ledger is None:
            raise LedgerUnavailable("feedback needs a ledger, and this gateway has none")
        return self._ledger

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


def _check_names(body: Mapping[str, Any]) -> None:
    is_of_conversation = "solved" in body
    fields = (*_FIELDS, *_OF_CONVERSATIONS) if is_of_conversation else _FIELDS
    for name in body:
        if name in fields:
            continue
        if name in _OF_CONVERSATIONS:
            raise BadRequest(f"{name} names a conversation: set solved (true or false)", "solved")
        raise BadRequest(
            f"unknown field {name}: the fields of feedback are {', '.join(_FIELDS)}, and for a "
            "conversation solved with conversation, response_id or request_id",
            name,
        )


def _read_solved(body: Mapping[str, Any]) -> float:
    for name in ("correct", "score"):
        if body.get(name) is not None:
            raise BadRequest(f"solved is of a conversation, {name} of a request: set one", name)
    solved: object = body["solved"]
    if isinstance(solved, bool):
        return float(solved)
    if not isinstance(solved, int | float) or not 0 <= solved <= 1:
        raise BadRequest("solved must be true, false, or a number from 0 to 1", "solved")
    return float(solved)


def _read(body: Mapping[str, Any]) -> tuple[str, float]:
    request_id, correct, score = (body.get(name) for name in _FIELDS)
    if not is_id(request_id):
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
