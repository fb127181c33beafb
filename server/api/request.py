"""A parsed request: the fields that the decision depends on. All other fields stay unread.

Effort and budget can be requested in the body, in the fields of the API that is spoken, and in two
headers. Several of them may be used at once as long as they agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from router.effort import Effort
from router.messages import Conversation
from server.api.fields import agreed, level, shown
from server.errors import BadRequest

EFFORT_HEADER = "x-tops-effort"
BUDGET_HEADER = "x-tops-budget"


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request of any API.

    Attributes:
        body: the JSON object that the client sent; not to be changed.
        messages: the conversation as messages, whatever the API calls them.
        conversation: the same, read as text.
        model: the requested model; None accepts the one that is served.
        effort: the requested effort; None leaves it to the gateway.
        budget: the requested budget in thinking tokens; None leaves it to the gateway.
        budget_field: the field or header that named the budget, for error messages.
        max_tokens: completion tokens at most.
        n: choices; `budget` and `max_tokens` hold for each.
        stream: whether to stream.
        include_usage: whether a stream ends with a usage chunk.
    """

    body: dict[str, Any]
    messages: list[Any]
    conversation: Conversation
    model: str | None
    effort: Effort | None
    budget: int | None
    budget_field: str
    max_tokens: int | None
    n: int = 1
    stream: bool = False
    include_usage: bool = False


def requested_effort(
    efforts: Mapping[str, object], switches: Mapping[str, bool], headers: Mapping[str, str]
) -> Effort | None:
    """The requested effort; None for `auto` or nothing.

    Args:
        efforts: efforts by the field that names them; None where absent.
        switches: whether to think at all, by the field that says so.
        headers: the request's headers.

    Raises:
        BadRequest: an unknown effort, or two that differ.
    """
    named = {**efforts, f"header {EFFORT_HEADER}": headers.get(EFFORT_HEADER)}
    levels = {name: level(name, value) for name, value in named.items() if value is not None}
    requested = agreed(levels)
    effort = None if requested == "auto" else cast("Effort | None", requested)
    for name, thinks in switches.items():
        if thinks == (effort == "none") and effort is not None:
            raise BadRequest(
                f"{name} {str(thinks).lower()} and effort '{effort}' contradict each other: "
                "leave one out",
                name,
            )
    return "none" if agreed(dict(switches)) is False else effort


def requested_budget(
    budgets: Mapping[str, int | None], headers: Mapping[str, str]
) -> tuple[int | None, str]:
    """The requested budget in thinking tokens, and the field that names it.

    Args:
        budgets: budgets by the field that names them; None where absent.
        headers: the request's headers.

    Raises:
        BadRequest: a header that is no number, or two budgets that differ.
    """
    named = {name: value for name, value in budgets.items() if value is not None}
    header = headers.get(BUDGET_HEADER)
    if header is not None:
        if not (header.isascii() and header.isdigit() and len(header) < 10):
            raise BadRequest(
                f"header {BUDGET_HEADER} must be a number of thinking tokens, not {shown(header)}",
                BUDGET_HEADER,
            )
        named[f"header {BUDGET_HEADER}"] = int(header)
    field = next(iter(named), "thinking_token_budget")
    return agreed(named), field.rpartition(" ")[2]


def check_coherent(request: ParsedRequest) -> ParsedRequest:
    """The request itself, unless effort, budget and `max_tokens` contradict each other.

    Raises:
        BadRequest: they contradict each other.
    """
    budget, field = request.budget, request.budget_field
    if request.effort == "none" and budget:
        raise BadRequest(
            f"reasoning_effort 'none' and {field} {budget} contradict each other: leave one out",
            field,
        )
    if budget is not None and request.max_tokens is not None and budget >= request.max_tokens:
        raise BadRequest(
            f"{field} {budget} leaves no room for an answer in max_tokens {request.max_tokens}: "
            "lower the budget or raise max_tokens",
            field,
        )
    return request
