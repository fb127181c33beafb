"""What each API that the gateway speaks must define."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from router.effort import Effort
from server.api.relay import Relay
from server.api.request import ParsedRequest
from server.engines.dialect import Dialect
from server.engines.usage import Usage
from server.errors import GatewayError

Tops = Callable[[Usage | None], dict[str, Any]]
"""Makes the `tops` object, once the usage is known or will not be reported."""


class Api(Protocol):
    """An API; the modules `server.api.chat`, `.responses` and `.messages` implement it."""

    PATH: str

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

    def relay(self, request: ParsedRequest, tops: Tops, effort: Effort) -> Relay:
        """A relay for one stream of this API, which was decided to have this effort."""
        ...

    def with_tops(self, answer: dict[str, Any], tops: dict[str, Any]) -> dict[str, Any]:
        """A whole answer with its `tops` object, and the effort where the API has it."""
        ...

    def error_event(self, error: GatewayError) -> bytes:
        """The last event of a stream that failed."""
        ...
