"""A fitted router as a few lines of text."""

from collections.abc import Mapping
from typing import cast

from router.artifact import Artifact
from router.policy import OperatingPoint


def summary(artifact: Artifact, max_loss: float) -> str:
    """Held-out calibration, accuracy and tokens, and what the router certifies at `max_loss`."""
    metrics = cast("Mapping[str, float]", artifact.metrics)
    point = dict(artifact.prices.certified)[max_loss]
    certificate = f"loss <= {max_loss:g} with confidence {1 - artifact.delta:g}: "
    return "\n".join((
        f"{artifact.model}: {', '.join(artifact.efforts)}; baseline {artifact.baseline}; "
        f"{artifact.provenance['problems']} problems",
        f"held out: ECE {metrics['ece']:.4f}, Brier {metrics['brier']:.4f} "
        f"({metrics['brier_without_features']:.4f} without the prompt's features)",
        *(
            f"composite effort {each.name}: {each.initial} with {each.budget} thinking tokens at "
            f"most, then {each.final} where it hits that"
            for each in artifact.composites
        ),
        certificate + _described(point, artifact),
        f"held out: accuracy {metrics['accuracy']:.4f} (baseline "
        f"{metrics['baseline_accuracy']:.4f}), tokens {metrics['tokens']:.1f} (baseline "
        f"{metrics['baseline_tokens']:.1f})",
    ))  # fmt: skip


def _described(point: OperatingPoint, artifact: Artifact) -> str:
    baseline = artifact.baseline
    budgets = "with budgets" if point.bounded else "without budgets"
    if not point.leaves_baseline:
        is_cheapest = baseline == artifact.efforts[0]
        why = "it is the cheapest effort" if is_cheapest else "no cheaper effort is certified"
        return f"{baseline} for every prompt, {budgets}: {why}"
    margin = f"margin {point.margin:g} for {baseline}, " if point.margin else ""
    return f"{margin}price {point.price:g} per 1,000 tokens, {budgets}"
