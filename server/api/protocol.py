"""What each API that the gateway speaks must define."""

from collections.abc import Mapping
from typing import Any, Protocol

from router.effort import Effort
from server.api.relay import Relay, Tops
from server.api.request import ParsedRequest
from server.api.streamed_answer import StreamForm
from server.engines.dialect import Dialect
from server.errors import GatewayError


class Api(Protocol):
    """An API; the modules `server.api.chat`, `.responses` and `.messages` implement it."""

    PATH: str
    STREAM_FORM: StreamForm

    def parse(self, body: dict[str, Any], headers: Mapping[str, str]) -> ParsedRequest:
        """Parse a request.

        Raises:
            BadRequest: a field that is read has the wrong type or value, or two fields disagree.
        """
        ...

    def write(
        self,
        request: ParsedRequest,
        effort: Effort,
        budget: int | None,
        model: str,
        dialect: Dialect,
    ) -> dict[str, Any]:
        """The body for the engine, as a new object. A budget of None is left out."""
        ...

    def is_answer(self, answer: Mapping[str, Any]) -> bool:
        """Whether an object is a whole answer of this API, rather than an error."""
        ...

    def answers(self, answer: Mapping[str, Any]) -> list[list[Any]]:
        """The answers of a whole answer, one a choice, each as chat messages."""
        ...

    def failure(self, answer: Mapping[str, Any]) -> GatewayError | None:
        """The error that an engine reports in an answer of status 200, if any."""
        ...

    def refusal(
        self, answer: dict[str, Any], status: int, max_tokens: int | None, context: int | None
    ) -> dict[str, Any]:
        """An engine's error envelope as the API's clients know it; `context` is in tokens."""
        ...

    def relay(self, request: ParsedRequest, tops: Tops, effort: Effort) -> Relay:
        """A relay for one stream of this API, which was decided to have this effort."""
        ...

    def with_tops(self, answer: dict[str, Any], tops: dict[str, Any]) -> dict[str, Any]:
        """A whole answer with its `tops` object, and the effort where the API has it."""
        ...

    def error_event(self, error: GatewayError) -> bytes:
        """The last event of a stream that failed."""
        ...
