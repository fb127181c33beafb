"""Conversations through the decider as through the gateway, without engine and HTTP."""

import asyncio
from collections.abc import Mapping
from typing import Any

from server.api import chat
from server.api.answer_identity import given_identities
from server.api.protocol import Api
from server.api_keys import Caller
from server.decide.conversations import Conversations, Thread
from server.decide.decider import Decider
from server.decide.decision import Decision
from server.engines.model_info import ModelInfo

ANYONE = Caller()


def user(text: str = "hi") -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str | None, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **fields}


class Dialogues:
    """A gateway's decisions and its memory of the answers."""

    def __init__(self, decider: Decider, conversations: Conversations | None = None) -> None:
        self._decider = decider
        self.conversations = conversations or Conversations(b"key")

    def thread(
        self,
        messages: list[dict[str, Any]],
        caller: Caller = ANYONE,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> Thread:
        request = chat.parse({"messages": messages, **fields}, headers or {})
        return asyncio.run(self.conversations.thread(request, caller.name))

    def turn(
        self,
        messages: list[dict[str, Any]],
        answer: dict[str, Any] | str | None = None,
        caller: Caller = ANYONE,
        headers: Mapping[str, str] | None = None,
        api: Api = chat,
        **fields: Any,
    ) -> Decision:
        """The decision for a request whose answer, where there is one, its client then has."""
        request = api.parse({"messages": messages, **fields}, headers or {})
        thread = asyncio.run(self.conversations.thread(request, caller.name))
        decision = self._decider.decide(request, caller, ModelInfo("m", None), thread=thread)
        self.conversations.remember_turn(thread, decision.routed)
        if answer is not None:
            message = assistant(answer) if isinstance(answer, str) else answer
            identities = given_identities(request.conversation.turns, [[message]])
            self.conversations.remember_answers(thread, decision.routed, identities)
        return decision
