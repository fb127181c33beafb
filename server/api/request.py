"""A parsed request: the fields that the decision depends on. All other fields stay unread.

`server.api.thinking_fields` has the fields for effort and budget.
"""

from dataclasses import dataclass
from typing import Any

from router.effort import Effort
from router.messages import Conversation
from server.api.session import Session
from server.api.thinking import RequestedThinking
from server.errors import BadRequest


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request of any API.

    Attributes:
        body: the JSON object that the client sent; not to be changed.
        messages: the conversation as messages, whatever the API calls them.
        conversation: the same, read as text.
        model: the requested model; None accepts the one that is served.
        thinking: what it asks for in effort and budget.
        max_tokens: completion tokens at most.
        n: choices; `budget` and `max_tokens` hold for each.
        stream: whether to stream.
        include_usage: whether a stream ends with a usage chunk.
        session: the conversation that the client names, if it names one.
        previous_response: the id of the answer that the Responses API continues, if any.
    """

    body: dict[str, Any]
    messages: list[Any]
    conversation: Conversation
    model: str | None
    thinking: RequestedThinking
    max_tokens: int | None
    n: int = 1
    stream: bool = False
    include_usage: bool = False
    session: Session | None = None
    previous_response: str | None = None

    @property
    def effort(self) -> Effort | None:
        """The requested effort; None leaves it to the gateway."""
        return self.thinking.effort

    @property
    def budget(self) -> int | None:
        """The requested budget in thinking tokens; None leaves it to the gateway."""
        return self.thinking.budget

    @property
    def budget_field(self) -> str:
        """The field or header that named the budget, for error messages."""
        return self.thinking.budget_field


def check_coherent(request: ParsedRequest) -> ParsedRequest:
    """The request itself, unless effort, budget and `max_tokens` contradict each other.

    Raises:
        BadRequest: they contradict each other.
    """
    budget, field = request.budget, request.budget_field
    if request.effort == "none" and budget:
        raise BadRequest(
            f"effort 'none' and {field} {budget} contradict each other: leave one out",
            field,
        )
    if budget is not None and request.max_tokens is not None and budget >= request.max_tokens:
        raise BadRequest(
            f"{field} {budget} leaves no room for an answer in max_tokens {request.max_tokens}: "
            "lower the budget or raise max_tokens",
            field,
        )
    return request
