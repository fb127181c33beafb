"""What each API must define so that its answers can be continued."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Literal, Protocol

from server.engines.continuing.unfinished import Unfinished

Kind = Literal["answer", "last answer", "end", "cut", "error"]
"""An event with a part of the answer; with the last part of one that a limit cuts; the first of
those that end the choice, by itself or by length; an error."""

Json = dict[str, Any]


class ContinuedApi(Protocol):
    """An API; the modules `chat`, `responses` and `messages` beside this one implement it.

    `limit` are the tokens that end the initial request, for an API that does not tell whether they
    did: llama.cpp calls any response completed.
    """

    LIMITS: tuple[str, ...]
    """The fields that bound the completion, in tokens."""

    NOTABLE: re.Pattern[bytes]
    """What events of a `Kind` contain; other text may contain it too."""

    def kind(self, event: Json, limit: int | None) -> Kind | None:
        """What an event of a stream is; None for one that matters to nobody here."""
        ...

    def split_end(self, event: bytes, fields: Json) -> list[bytes]:
        """An event that ends a choice: what comes before the end, if anything, and the end."""
        ...

    def may_lack_answer(self, raw: bytes) -> bool:
        """Whether a whole answer has to be parsed, because it may have none or may be cut."""
        ...

    def read_stream(self, events: Sequence[Json], limit: int | None) -> Unfinished | None:
        """The state at the end of a stream; None where it cannot be continued."""
        ...

    def thinking_events(self, events: Sequence[Json]) -> int:
        """How many events carry reasoning."""
        ...

    def read_answer(self, answer: Json, limit: int | None) -> list[Unfinished]:
        """The choices of a whole answer that have no answer, or one that was cut."""
        ...

    def body(self, body: Json, state: Unfinished, resume: Json, remaining: int | None) -> Json:
        """The request that continues; `remaining` completion tokens are left."""
        ...

    def merged(self, answer: Json, state: Unfinished, continued: Json) -> Json:
        """Both answers as one, with the tokens of both; no text where neither has an answer."""
        ...

    def joined(
        self, events: Sequence[Json], state: Unfinished, continued: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes]:
        """The rest of the stream of which `events` were sent, from the events of the second."""
        ...
