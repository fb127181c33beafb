"""What a request asks for in effort and budget, in whichever fields of any dialect.

The fields are read on every API, whatever the engine, and removed: the decision is then written as
the engine's dialect has it. Several may be used at once as long as they agree.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast

from router.effort import Effort
from server.api.fields import agreed
from server.api.thinking_fields import EFFORT, FIELDS, UNLIMITED, Field, FieldRequest
from server.errors import BadRequest
from server.http.json_codec import shown

EFFORT_HEADER = "x-tops-effort"
BUDGET_HEADER = "x-tops-budget"


class RequestedThinking(NamedTuple):
    """What a request's fields and headers ask for together.

    Attributes:
        effort: the effort; None leaves it to the gateway.
        budget: thinking tokens; None leaves them to the gateway.
        budget_field: the field or header that named the budget.
        unlimited: whether no budget but the limits of key and server is wanted.
        thinks: whether the client switched thinking on without naming an effort.
    """

    effort: Effort | None = None
    budget: int | None = None
    budget_field: str = "thinking_token_budget"
    unlimited: bool = False
    thinks: bool = False


_Tree = dict[str, "_Tree | Literal[True]"]


def _by_root() -> dict[str, tuple[tuple[Field, tuple[str, ...]], ...]]:
    """The fields and their paths, by their top-level key."""
    groups: dict[str, tuple[tuple[Field, tuple[str, ...]], ...]] = {}
    for field in FIELDS:
        for path in field.paths:
            groups[path[0]] = (*groups.get(path[0], ()), (field, path))
    return groups


def _removed() -> _Tree:
    """The paths of the fields that are removed, as a tree."""
    tree: _Tree = {}
    for path in (path for field in FIELDS if not field.forwarded for path in field.paths):
        branch = tree
        for key in path[:-1]:
            branch = cast("_Tree", branch.setdefault(key, {}))
        branch[path[-1]] = True
    return tree


_BY_ROOT, _REMOVED = _by_root(), _removed()


def requested_thinking(body: dict[str, Any], headers: Mapping[str, str]) -> RequestedThinking:
    """What the fields of a body, and the headers, ask for.

    Raises:
        BadRequest: a wrong type or value, or two fields that contradict each other.
    """
    by_field: dict[str, FieldRequest] = {}
    if not _BY_ROOT.keys().isdisjoint(body):
        _refuse_nested(body.get(_SDK_PARAMETER))
        by_field = _field_requests(body)
    if EFFORT_HEADER in headers:
        by_field[f"header {EFFORT_HEADER}"] = EFFORT.read(
            f"header {EFFORT_HEADER}", headers[EFFORT_HEADER]
        )
    if BUDGET_HEADER in headers:
        by_field[f"header {BUDGET_HEADER}"] = _budget_header(headers[BUDGET_HEADER])
    if not by_field:
        return _NOTHING
    efforts: dict[str, str] = {}
    budgets: dict[str, int] = {}
    switches: dict[str, bool] = {}
    for name, (effort, budget, thinks) in by_field.items():
        if effort is not None:
            efforts[name] = effort
        if budget is not None:
            budgets[name] = budget
        if thinks is not None:
            switches[name] = thinks
    if False in switches.values():
        efforts.pop(_EFFORT_OF_ANSWERS, None)
    budget = agreed(budgets)
    return RequestedThinking(
        effort=_requested_effort(efforts, switches),
        budget=None if budget == UNLIMITED else budget,
        budget_field=next(iter(budgets), _NOTHING.budget_field).rpartition(" ")[2],
        unlimited=budget == UNLIMITED,
        thinks=True in switches.values(),
    )


_NOTHING = RequestedThinking()

_SDK_PARAMETER = "extra_body"

_EFFORT_OF_ANSWERS = "output_config.effort"
"""Anthropic's effort is for the whole answer, so a client may name it and switch thinking off."""


def without_thinking(body: dict[str, Any]) -> dict[str, Any]:
    """A copy of a body without the fields of the table.

    Objects that they leave empty, or that are null, go too.
    """
    return dict(body) if _BY_ROOT.keys().isdisjoint(body) else _pruned(body, _REMOVED)


def _pruned(body: dict[str, Any], removed: _Tree) -> dict[str, Any]:
    remaining: dict[str, Any] = {}
    for key, value in body.items():
        branch = removed.get(key)
        if branch is True or (branch and value is None):
            continue
        if branch and isinstance(value, dict) and value:
            pruned = _pruned(cast("dict[str, Any]", value), branch)
            if pruned:
                remaining[key] = pruned
        else:
            remaining[key] = value
    return remaining


def _field_requests(body: dict[str, Any]) -> dict[str, FieldRequest]:
    """By the fields of the body that are not null."""
    by_field: dict[str, FieldRequest] = {}
    for root, fields in _BY_ROOT.items():
        if root in body:
            owner = body[root]
            for field, keys in fields:
                if len(keys) > 1 and isinstance(owner, dict) and keys[1] not in owner:
                    continue  # most fields of an object are absent
                value = _value(body, keys)
                if value is not None:
                    name = ".".join(keys)
                    by_field[name] = field.kind.read(name, value)
    return by_field


def _refuse_nested(extra: object) -> None:
    """Raise BadRequest where a client sent the SDKs' parameter, which they spread over the body."""
    if isinstance(extra, dict):
        for name in cast("dict[str, Any]", extra):
            if name in _BY_ROOT and name != "google":  # Gemini's own field is extra_body.google
                raise BadRequest(
                    f"{_SDK_PARAMETER} is a parameter of SDKs, which send what it holds at the "
                    f"top of the body: send {name} there",
                    f"{_SDK_PARAMETER}.{name}",
                )


def _value(body: dict[str, Any], keys: tuple[str, ...]) -> object:
    owner = body
    for depth, key in enumerate(keys[:-1], 1):
        value = owner.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            name = ".".join(keys[:depth])
            raise BadRequest(f"{name} must be an object, not {shown(value)}", name)
        owner = cast("dict[str, Any]", value)
    return owner.get(keys[-1])


def _budget_header(value: str) -> FieldRequest:
    if value == str(UNLIMITED):
        return FieldRequest(budget=UNLIMITED)
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise BadRequest(
            f"header {BUDGET_HEADER} must be a number of thinking tokens, or -1 for no limit, "
            f"not {shown(value)}",
            BUDGET_HEADER,
        )
    return FieldRequest(budget=int(value))


def _requested_effort(efforts: dict[str, str], switches: dict[str, bool]) -> Effort | None:
    """The effort that all fields agree on; None for `auto` or nothing."""
    requested = agreed(efforts)
    effort = None if requested == "auto" else cast("Effort | None", requested)
    for name, thinks in switches.items():
        if thinks == (effort == "none") and effort is not None:
            raise BadRequest(
                f"{name} {str(thinks).lower()} and effort '{effort}' contradict each other: "
                "leave one out",
                name,
            )
    return "none" if agreed(switches) is False else effort
