"""What the gateway needs of an API that it speaks: to read a request, to pass it on, to tell."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from router.effort import Effort
from server.api.relay import Relay
from server.api.request import ParsedRequest
from server.engines.dialect import Dialect
from server.engines.usage import Usage
from server.errors import GatewayError

Tops = Callable[[Usage | None], dict[str, Any]]
"""Makes the `tops` object once the usage is known, or will not come."""


class Api(Protocol):
    """One of `server.api.chat`, `.responses`, `.messages`: each module is one."""

    PATH: str

    def parse(self, body: dict[str, Any], headers: Mapping[str, str]) -> ParsedRequest:
        """Read a request.

        Raises:
            BadRequest: a field that we read has the wrong type or value, or two disagree.
        """
        ...

    def write(
        self, asked: ParsedRequest, effort: Effort, budget: int | None, model: str, dialect: Dialect
    ) -> dict[str, Any]:
        """The engine's body; the client's is left as it was. A budget of None is not sent."""
        ...

    def is_answer(self, answer: Mapping[str, Any]) -> bool:
        """Whether an object is a whole answer of this API."""
        ...

    def relay(self, asked: ParsedRequest, tops: Tops) -> Relay:
        """What relays a stream of this API."""
        ...

    def error_event(self, error: GatewayError) -> bytes:
        """The last event of a stream that cannot go on."""
        ...
