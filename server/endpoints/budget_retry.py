"""One more try with a larger budget, where the budget left a request without a usable answer."""

import re
from typing import Any, cast

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError

from server.api.request import ParsedRequest
from server.lifecycle.record import RequestRecord

_COSTLY = re.compile(r"'(?:\$|pattern)")
"""References, which may point outside or multiply, and patterns: the schema is a stranger's."""


class BudgetRetry:
    """Decides on second tries.

    Args:
        factor: how many times the first budget the second one is; None tries once only.
    """

    def __init__(self, factor: float | None) -> None:
        self._factor = factor

    def budget(
        self, exchange: RequestRecord, asked: ParsedRequest, answer: dict[str, Any]
    ) -> int | None:
        """The budget of the second try in thinking tokens, or None where there is to be none.

        A budget that the client set is the client's: it is not exceeded.
        """
        decision = exchange.decision
        if self._factor is None or decision is None or not exchange.budget_hit:
            return None
        if decision.budget is None or decision.budget_source in ("request", "key"):
            return None
        choices = answer.get("choices")
        if not isinstance(choices, list):
            return None
        wanted = asked.body.get("response_format")
        found = cast("list[dict[str, Any]]", choices)
        if all(_usable(choice.get("message") or {}, wanted) for choice in found):
            return None
        larger = int(decision.budget * self._factor) + 1
        if asked.max_tokens is not None:
            larger = min(larger, asked.max_tokens - 1)
        if decision.most_budget is not None:
            larger = min(larger, decision.most_budget)
        return larger if larger > decision.budget else None


def summed(first: object, second: object) -> Any:
    """Two usage objects as one: numbers add up, whatever the engine calls them."""
    if isinstance(first, dict) and isinstance(second, dict):
        one, other = cast("dict[str, Any]", first), cast("dict[str, Any]", second)
        return {**one, **{key: summed(one.get(key), value) for key, value in other.items()}}
    if isinstance(first, int) and isinstance(second, int):
        return first + second
    return cast("Any", first if second is None else second)


def _usable(message: dict[str, Any], response_format: object) -> bool:
    if message.get("tool_calls"):
        return True
    content: object = message.get("content")
    if not isinstance(content, str) or not content.strip():
        return False
    wanted = cast("dict[str, Any]", response_format) if isinstance(response_format, dict) else {}
    if wanted.get("type") not in ("json_object", "json_schema"):
        return True
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return False
    named: dict[str, Any] = wanted.get("json_schema") or {}
    return _fits(value, named.get("schema"))


def _fits(value: object, schema: object) -> bool:
    """Whether a value keeps to a schema; what a schema may make costly is not looked at."""
    if not isinstance(schema, dict) or _COSTLY.search(str(cast("object", schema))):
        return True
    asked = cast("dict[str, Any]", schema)
    try:
        Draft202012Validator.check_schema(asked)  # pyright: ignore[reportUnknownMemberType]
        Draft202012Validator(asked).validate(value)  # pyright: ignore[reportUnknownMemberType]
    except ValidationError:
        return False
    except (SchemaError, RecursionError):
        return True
    return True
