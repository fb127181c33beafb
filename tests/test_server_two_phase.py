"""Two phases where the engine's chunks have several tokens, or its fields other names."""

import asyncio
import json
from typing import Any

import pytest

from server.engines.reply import Sink
from server.engines.two_phase import TRANSITION, TwoPhase
from server.errors import EngineFailed


class Told:
    """An engine's reply of events that are known; what a real one streams, it cannot be told to."""

    status, is_stream, cut, retry_after = 200, True, None, None

    def __init__(self, *chunks: dict[str, Any] | str) -> None:
        self._events = [
            f"data: {one if isinstance(one, str) else json.dumps(one)}\n\n".encode()
            for one in chunks
        ]

    async def begin(self) -> None: ...

    async def next_chunk(self) -> bytes:
        return self._events.pop(0) if self._events else b""

    async def stream_to(self, sink: Sink) -> None:
        while event := await self.next_chunk():
            await sink(event)

    async def read(self) -> bytes:
        return b"".join(self._events)

    async def aclose(self) -> None: ...


def thought(field: str, tokens: int) -> dict[str, Any]:
    usage = {"prompt_tokens": 3, "completion_tokens": tokens}
    return {"id": "c", "choices": [{"index": 0, "delta": {field: "hm "}}], "usage": usage}


ANSWER = {"id": "d", "choices": [{"index": 0, "delta": {"content": "5"}, "finish_reason": "stop"}]}
USAGE = {"id": "d", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}


def had(budget: int, *phases: Told) -> tuple[dict[str, Any], bool]:
    left = list(phases)
    reply = TwoPhase(lambda _: left.pop(0), {"messages": []}, budget, {})

    async def main() -> dict[str, Any]:
        await reply.begin()
        return json.loads(await reply.read())

    return asyncio.run(main()), reply.cut


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_a_cut_between_two_chunks_is_told_and_closed_in_the_engine_s_own_field(field: str) -> None:
    first = Told(*(thought(field, 3 * number) for number in range(1, 9)))
    answer, cut = had(10, first, Told(ANSWER, USAGE, "[DONE]"))
    message = answer["choices"][0]["message"]
    assert cut
    assert message[field] == 3 * "hm " + TRANSITION
    assert message["content"] == "5"
    assert answer["usage"]["completion_tokens_details"] == {"reasoning_tokens": 9}


def test_a_budget_that_does_not_bind_cuts_nothing() -> None:
    whole = Told(thought("reasoning", 3), ANSWER, USAGE, "[DONE]")
    answer, cut = had(10, whole)
    assert not cut
    assert answer["choices"][0]["message"]["reasoning"] == "hm "


def test_a_stream_without_anything_is_no_answer() -> None:
    with pytest.raises(EngineFailed, match="before it was complete"):
        had(10, Told())
