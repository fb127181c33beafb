"""Decides on one retry with a larger budget, where the budget left no usable answer."""

import re
from typing import Any, cast

import orjson

from router.token_count import token_count
from server.api.request import ParsedRequest
from server.http.json_codec import as_object
from server.lifecycle.record import RequestRecord

_COSTLY = re.compile(r"'(?:\$|pattern)")
"""References, which may point outside or multiply, and patterns. The schema is the client's, so
one that has them is not evaluated."""


class BudgetRetry:
    """Decides on retries.

    Args:
        factor: the retry's budget as a multiple of the exhausted one; None never retries.
    """

    def __init__(self, factor: float | None) -> None:
        self._factor = factor

    def larger_budget(
        self, record: RequestRecord, request: ParsedRequest, answer: dict[str, Any]
    ) -> int | None:
        """The budget of a retry in thinking tokens, or None where there is to be no retry.

        A budget from the client or its API key is never exceeded.
        """
        decision = record.decision
        if self._factor is None or decision is None or not record.budget_hit:
            return None
        if decision.budget is None or decision.budget_source in ("request", "key"):
            return None
        choices = answer.get("choices")
        if not isinstance(choices, list):
            return None
        response_format = request.body.get("response_format")
        answers = cast("list[dict[str, Any]]", choices)
        if all(_usable(choice.get("message") or {}, response_format) for choice in answers):
            return None
        budget = int(decision.budget * self._factor) + 1
        if request.max_tokens is not None:
            budget = min(budget, request.max_tokens - 1)
        if decision.budget_limit is not None:
            budget = min(budget, decision.budget_limit)
        return budget if budget > decision.budget else None


def add_usage(usage: object, extra: object) -> Any:
    """The sum of two usage objects: all numbers add up, whatever the engine calls them."""
    if isinstance(usage, dict) and isinstance(extra, dict):
        left, right = cast("dict[str, Any]", usage), cast("dict[str, Any]", extra)
        return {**left, **{key: add_usage(left.get(key), value) for key, value in right.items()}}
    count, added = token_count(cast("object", usage)), token_count(extra)
    if count is not None and added is not None:
        return count + added
    return cast("Any", usage if extra is None else extra)


def _usable(message: dict[str, Any], response_format: object) -> bool:
    """Whether a message calls a tool, or has content in the requested format."""
    if message.get("tool_calls"):
        return True
    content: object = message.get("content")
    if not isinstance(content, str) or not content.strip():
        return False
    wanted = as_object(response_format)
    if wanted.get("type") not in ("json_object", "json_schema"):
        return True
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return False
    named: dict[str, Any] = wanted.get("json_schema") or {}
    return _conforms(value, named.get("schema"))


def _conforms(value: object, schema: object) -> bool:
    """Whether a value conforms to a JSON schema; true where the schema is not evaluated."""
    if not isinstance(schema, dict) or _COSTLY.search(str(cast("object", schema))):
        return True
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - a tenth of the start-up's imports
    from jsonschema.exceptions import SchemaError, ValidationError  # noqa: PLC0415

    checked = cast("dict[str, Any]", schema)
    try:
        Draft202012Validator.check_schema(checked)  # pyright: ignore[reportUnknownMemberType]
        Draft202012Validator(checked).validate(value)  # pyright: ignore[reportUnknownMemberType]
    except ValidationError:
        return False
    except (SchemaError, RecursionError):
        return True
    return True
