"""What a request asks for, as far as the decision needs to know; the rest stays unread.

Effort and budget can be said in the body, in the way of the API that is spoken, and in two headers;
several ways may be used at once as long as they agree.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from router.effort import Effort
from server.api.fields import agreed, level, shown
from server.errors import BadRequest

EFFORT_HEADER = "x-tops-effort"
BUDGET_HEADER = "x-tops-budget"


class ParsedRequest(NamedTuple):
    """A parsed request; `effort` and `budget` (thinking tokens) are None where left to us.

    `messages` are the conversation as the router reads it. `n` is the number of choices; a budget
    and `max_tokens` hold for each of them. `budget_field` is where the budget was said.
    """

    body: dict[str, Any]
    messages: list[Any]
    model: str | None
    effort: Effort | None
    budget: int | None
    max_tokens: int | None
    n: int = 1
    stream: bool = False
    include_usage: bool = False
    budget_field: str = "thinking_token_budget"


def asked_effort(
    said: Mapping[str, object], thinking: Mapping[str, bool], headers: Mapping[str, str]
) -> Effort | None:
    """The effort asked for; None for `auto` or nothing.

    Args:
        said: efforts by the field that names them; None where absent.
        thinking: switches by the field that names them: whether to think at all.
        headers: the request's headers.

    Raises:
        BadRequest: an unknown effort, or two that differ.
    """
    said = {**said, f"header {EFFORT_HEADER}": headers.get(EFFORT_HEADER)}
    efforts = {name: level(name, value) for name, value in said.items() if value is not None}
    asked = agreed(efforts)
    effort = None if asked == "auto" else cast("Effort | None", asked)
    for name, on in thinking.items():
        if on == (effort == "none") and effort is not None:
            raise BadRequest(
                f"{name} {str(on).lower()} and effort '{effort}' contradict each other: "
                "leave one out",
                name,
            )
    return "none" if agreed(dict(thinking)) is False else effort


def asked_budget(
    said: Mapping[str, int | None], headers: Mapping[str, str]
) -> tuple[int | None, str]:
    """The budget asked for in thinking tokens, and the field that says so.

    Raises:
        BadRequest: a header that is no number, or two budgets that differ.
    """
    budgets = {name: value for name, value in said.items() if value is not None}
    header = headers.get(BUDGET_HEADER)
    if header is not None:
        if not (header.isascii() and header.isdigit() and len(header) < 10):
            raise BadRequest(
                f"header {BUDGET_HEADER} must be a number of thinking tokens, not {shown(header)}",
                BUDGET_HEADER,
            )
        budgets[f"header {BUDGET_HEADER}"] = int(header)
    field = next(iter(budgets), "thinking_token_budget")
    return agreed(budgets), field.rpartition(" ")[2]


def check_coherent(asked: ParsedRequest) -> ParsedRequest:
    """The same, unless effort, budget and room for the answer contradict each other.

    Raises:
        BadRequest: they do.
    """
    budget, field = asked.budget, asked.budget_field
    if asked.effort == "none" and budget:
        raise BadRequest(
            f"reasoning_effort 'none' and {field} {budget} contradict each other: leave one out",
            field,
        )
    if budget is not None and asked.max_tokens is not None and budget >= asked.max_tokens:
        raise BadRequest(
            f"{field} {budget} leaves no room for an answer in max_tokens {asked.max_tokens}: "
            "lower the budget or raise max_tokens",
            field,
        )
    return asked
