"""The decision as response headers."""

from server.decide.decision import Decision

DECISION_HEADERS = tuple(
    f"x-tops-{name}"
    for name in (
        *("effort", "source", "budget", "budget-source", "arm", "abstained", "calibrated"),
        *("kind", "difficulty", "p-correct", "composite", "attempts", "reason"),
    )
)
"""The names of all headers that a decision may have."""


def decision_headers(decision: Decision, attempts: int | None = 1) -> list[tuple[bytes, bytes]]:
    """`x-tops-*` headers as they are sent; a header without a value is left out.

    `attempts`: made at a composite effort, by the last of which the response is; None where that
    attempt is not known yet, nor its effort and budget.
    """
    headers: list[tuple[bytes, str | int | None]] = [
        (b"x-tops-effort", decision.effort if attempts else None),
        (b"x-tops-source", decision.source),
        (b"x-tops-budget", decision.budget if attempts else None),
        (b"x-tops-budget-source", decision.budget_source if attempts else None),
        (b"x-tops-arm", decision.arm),
        (b"x-tops-abstained", decision.abstained and _printable(decision.abstained)),
        (b"x-tops-calibrated", None if decision.calibrated else "false"),
    ]
    if decision.kind is not None:  # from a file, which may hold any character
        headers.append((b"x-tops-kind", _printable(decision.kind)))
    if decision.composite is not None:
        headers += [(b"x-tops-composite", decision.composite.name), (b"x-tops-attempts", attempts)]
    estimate = decision.estimate
    if estimate is not None:
        p_correct = estimate.p_correct.get(decision.choice)
        headers += [
            (b"x-tops-difficulty", f"{estimate.difficulty:.3f}"),
            (b"x-tops-p-correct", None if p_correct is None else f"{p_correct:.3f}"),
        ]
    headers.append((b"x-tops-reason", _printable(decision.reason)))
    return [
        (name, str(value).encode("latin-1", "replace"))
        for name, value in headers
        if value is not None
    ]


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(filter(str.isprintable, text))
