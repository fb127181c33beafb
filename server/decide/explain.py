"""`POST /v1/route`: the decision that a request would get, and why, without generating."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from router.features import FEATURE_NAMES, features
from server.api.request import ParsedRequest
from server.decide.conversations import Thread
from server.decide.decision import Decision


def explain(
    request: ParsedRequest,
    decision: Decision,
    thread: Thread,
    kind_sources: Sequence[str] = (),
) -> dict[str, Any]:
    """The decision with everything that led to it; token counts are thinking tokens."""
    estimate = decision.estimate
    return {
        "effort": decision.effort,
        "source": decision.source,
        "conversation": thread.evidence,
        "arm": decision.arm,
        "reason": decision.reason,
        "kind": decision.kind,
        "kind_sources": [*kind_sources],
        "abstained": decision.abstained,
        "budget": decision.budget,
        "budget_source": decision.budget_source,
        "composite": _composite(decision),
        "baseline_effort": decision.baseline_effort,
        "difficulty": estimate.difficulty if estimate else None,
        "p_correct": estimate.p_correct if estimate else None,
        "tokens": estimate.tokens if estimate else None,
        "calibrated": decision.calibrated,
        "load": decision.pressure,
        "features": dict(zip(FEATURE_NAMES, features(request.conversation).tolist(), strict=True)),
    }


def _composite(decision: Decision) -> dict[str, Any] | None:
    composite = decision.composite
    return None if composite is None else {"name": composite.name, **asdict(composite)}
