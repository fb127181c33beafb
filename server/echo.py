"""The decision, told to the client in response headers."""

from server.decision import Decision


def echo_headers(decision: Decision) -> dict[str, str]:
    """`x-tops-*` headers; one whose value is unknown is left out."""
    estimate = decision.estimate
    said: dict[str, str | int | None] = {
        "x-tops-effort": decision.effort,
        "x-tops-source": decision.source,
        "x-tops-budget": decision.budget,
        "x-tops-budget-source": decision.budget_source,
        "x-tops-arm": decision.arm,
        "x-tops-abstained": decision.abstained,
        "x-tops-calibrated": None if decision.calibrated else "false",
    }
    if estimate is not None:
        said["x-tops-difficulty"] = f"{estimate.difficulty:.3f}"
        p_correct = estimate.p_correct.get(decision.effort)
        said["x-tops-p-correct"] = None if p_correct is None else f"{p_correct:.3f}"
    return {name: str(value) for name, value in said.items() if value is not None}
