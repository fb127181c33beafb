"""Remembers an answer before its client can continue from it."""

from collections.abc import Mapping
from typing import Any

from server.api.answer_identity import given_identities, response_identity
from server.api.protocol import Api
from server.api.request import ParsedRequest
from server.api.streamed_answer import StreamedAnswer
from server.decide.conversations import Conversations
from server.engines.dialect import RESPONSES
from server.lifecycle.record import RequestRecord

BATCH = 8
"""Chunks that are read together, for a fraction of the time of each alone; they wait in memory."""


class GivenAnswer:
    """The answer to one request, whole or streamed.

    `unread` takes the events of a stream as they come; `ending` is set before its end is sent.
    """

    __slots__ = (
        *("_api", "_conversations", "_record", "_request", "_streamed", "ending", "unread"),
    )

    def __init__(
        self, conversations: Conversations, record: RequestRecord, request: ParsedRequest, api: Api
    ) -> None:
        self._conversations = conversations
        self._record = record
        self._request = request
        self._api = api
        self._streamed = StreamedAnswer(api.STREAM_FORM)
        self.unread: list[bytes] = []
        self.ending = False

    @property
    def is_empty(self) -> bool:
        """Whether a streamed answer has neither text nor a tool's call, as far as it was read."""
        return not any(
            message["content"].strip() or message["tool_calls"]
            for message in self._streamed.messages()
        )

    def read(self) -> bool:
        """Read the events in `unread`; whether later ones are to be read as well.

        The answer is remembered as soon as it is identified, at the latest when the stream ends.
        """
        self._read_batch()
        if not self.ending and not self._streamed.settled:
            return True
        self.end()
        return False

    def end(self) -> None:
        """Remember a streamed answer as far as it came."""
        self._read_batch()
        is_single = self._request.n == 1  # the texts of several choices alternate
        answers = [self._streamed.messages()] if is_single else []
        self._remember(answers, self._streamed.response_id)

    def _read_batch(self) -> None:
        self._streamed.feed(b"".join(self.unread))
        self.unread.clear()

    def remember(self, answer: Mapping[str, Any]) -> None:
        """Remember an answer that is not streamed."""
        self._remember(self._api.answers(answer), str(answer.get("id") or ""))

    def _remember(self, answers: list[list[Any]], response_id: str) -> None:
        record = self._record
        if record.thread is None or record.decision is None:
            return
        if response_id:
            record.response = self._conversations.response_hash(record.caller, response_id)
        identities = given_identities(self._request.conversation.turns, answers)
        if response_id and self._api.PATH == RESPONSES:
            identities.append(response_identity(response_id))
        record.answer = self._conversations.remember_answers(
            record.thread, record.decision.routed, identities
        )
