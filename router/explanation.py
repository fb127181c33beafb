"""A routing decision as text or as a JSON object, and prompts read from JSON Lines."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from router.json_text import parse_json
from router.router import Route


def read_prompts(lines: Iterable[str], name: str) -> Iterator[Mapping[str, object]]:
    """The objects of JSON Lines, each with `prompt` or `messages`; empty lines are skipped.

    Raises:
        ValueError: a line is not a JSON object; the message has `name` and the line's number.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields: object = parse_json(line.removeprefix("\ufeff"))  # a byte order mark
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{name}:{number}: not JSON ({error})") from error
        if not isinstance(fields, dict):
            raise ValueError(f"{name}:{number}: not an object")  # noqa: TRY004 (of the data)
        yield cast("dict[str, object]", fields)


def kind_of(fields: Mapping[str, object]) -> str | None:
    """The kind of traffic that a line names, as in an outcome row."""
    kind = fields.get("kind")
    if isinstance(kind, bool) or not isinstance(kind, str | int):
        return None
    return str(kind) or None


def as_json(fields: Mapping[str, object], route: Route) -> str:
    """The decision and its estimate on one line, with the `problem_id` of the prompt's line."""
    estimate = route.estimate
    document = {
        "effort": route.effort,
        "budget": route.budget,
        "difficulty": estimate and estimate.difficulty,
        "p_correct": estimate and estimate.p_correct,
        "tokens": estimate and estimate.tokens,
        "budgets": estimate and estimate.budget,
        "reason": route.reason,
        "abstained": route.abstained,
    }
    problem = {"problem_id": fields["problem_id"]} if "problem_id" in fields else {}
    return json.dumps({**problem, **document})


def as_text(messages: object, route: Route) -> str:
    """The decision with its reason, and a line per effort with P(correct) and tokens."""
    lines = [f"{' '.join(str(messages).split())[:70]}", f"  {route.effort}: {route.reason}"]
    if route.estimate is not None:
        lines.append(f"  difficulty {route.estimate.difficulty:.2f}; budget {route.budget}")
        lines.extend(
            f"  {effort:<10}P(correct) {p:.3f}   tokens {route.estimate.tokens[effort]:.0f}"
            for effort, p in route.estimate.p_correct.items()
        )
    return "\n".join(lines)
