"""The decision, told to the client in response headers."""

from server.decide.decision import Decision


def decision_headers(decision: Decision) -> list[tuple[bytes, bytes]]:
    """`x-tops-*` headers as they go over the wire; one whose value is unknown is left out."""
    estimate = decision.estimate
    said: list[tuple[bytes, str | int | None]] = [
        (b"x-tops-effort", decision.effort),
        (b"x-tops-source", decision.source),
        (b"x-tops-budget", decision.budget),
        (b"x-tops-budget-source", decision.budget_source),
        (b"x-tops-arm", decision.arm),
        (b"x-tops-abstained", decision.abstained),
        (b"x-tops-calibrated", None if decision.calibrated else "false"),
    ]
    if estimate is not None:
        p_correct = estimate.p_correct.get(decision.effort)
        said += [
            (b"x-tops-difficulty", f"{estimate.difficulty:.3f}"),
            (b"x-tops-p-correct", None if p_correct is None else f"{p_correct:.3f}"),
        ]
    return [
        (name, str(value).encode("latin-1", "replace")) for name, value in said if value is not None
    ]
