"""`POST /v1/route`: what would be decided for a request, and why, without generating."""

from typing import Any

from router.features import FEATURE_NAMES, conversation_features
from router.messages import read_messages
from server.asked import Asked
from server.decision import Decision


def explain(asked: Asked, decision: Decision) -> dict[str, Any]:
    """The decision with everything that led to it; tokens are thinking tokens."""
    estimate = decision.estimate
    features = conversation_features(read_messages(asked.messages))
    return {
        "effort": decision.effort,
        "source": decision.source,
        "reason": decision.reason,
        "abstained": decision.abstained,
        "budget": decision.budget,
        "budget_source": decision.budget_source,
        "baseline_effort": decision.baseline_effort,
        "difficulty": estimate.difficulty if estimate else None,
        "p_correct": estimate.p_correct if estimate else None,
        "tokens": estimate.tokens if estimate else None,
        "features": dict(zip(FEATURE_NAMES, features.tolist(), strict=True)),
    }
