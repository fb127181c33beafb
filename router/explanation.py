"""A routing decision as text, or as a JSON object."""

import json
from collections.abc import Mapping

from router.router import Route


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
        budget = "no budget" if route.budget is None else f"budget {route.budget}"
        lines.append(f"  difficulty {route.estimate.difficulty:.2f}; {budget}")
        lines.extend(
            f"  {effort:<10}P(correct) {p:.3f}   tokens {route.estimate.tokens[effort]:.0f}"
            for effort, p in route.estimate.p_correct.items()
        )
    return "\n".join(lines)
