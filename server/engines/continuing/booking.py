"""Books what two requests have spent where the usage of the second, which tells it, does not come.

The client has disconnected, the second request has failed, or its engine reports no usage.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import TracebackType

from server.engines.usage import Usage

Book = Callable[[Usage], None]
"""Takes tokens that were spent and that no usage of an answer will report."""

_REPORT = re.compile(rb'"(?:completion|output)_tokens"\s*+:\s*+[1-9]')


class Booking:
    """The context of the second request.

    Args:
        begun: tokens of the first; the prompt counts once.
        book: gets both requests' tokens; of the second, one for each event. None where
            nobody keeps accounts.
    """

    def __init__(self, begun: Usage, book: Book | None) -> None:
        self._begun, self._book = begun, book
        self._generated = 0
        self._is_reported = False

    def __enter__(self) -> "Booking":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._book is not None and not self._is_reported:
            self._book(self._begun + Usage(0, self._generated, 0))

    async def watched(self, events: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """The second request's events, unchanged."""
        async for event in events:
            self.note(event)
            yield event

    def note(self, event: bytes) -> None:
        """Count an event of the second request."""
        self._generated += 1
        if event.find(b'_tokens"') >= 0 and _REPORT.search(event) and b"message_start" not in event:
            self._is_reported = True

    def cancel(self) -> None:
        """There is no second request: the first one reports its tokens itself."""
        self._is_reported = True
