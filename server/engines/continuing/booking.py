"""Books what two requests have spent where the usage of the second, which tells it, does not come.

The client has disconnected, the second request has failed, or its engine reports no usage.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from server.engines.usage import Usage

Book = Callable[[Usage], None]
"""Takes tokens that were spent and that no usage of an answer will report."""

_REPORT = re.compile(rb'"(?:completion|output)_tokens"\s*+:\s*+[1-9]')


class Booking:
    """The context of the second request; `generated` counts its events.

    Args:
        begun: tokens of the first; the prompt counts once.
        book: gets both requests' tokens; of the second, one for each event. None where
            nobody keeps accounts.
    """

    def __init__(self, begun: Usage, book: Book | None) -> None:
        self._begun, self._book = begun, book
        self.generated = 0
        self._is_reported = False

    def __enter__(self) -> "Booking":
        return self

    def __exit__(self, *_: object) -> None:
        if self._book is not None and not self._is_reported:
            self._book(self._begun + Usage(0, self.generated, 0))

    async def watched(self, events: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """The second request's events, unchanged."""
        async for event in events:
            self.generated += 1
            if event.find(b'_tokens"') >= 0 and _REPORT.search(event):
                self._is_reported = self._is_reported or b"message_start" not in event
            yield event

    def cancel(self) -> None:
        """A usage reports the tokens: that of both requests, or of the first, the only one."""
        self._is_reported = True
