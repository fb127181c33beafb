"""A fitted router as a few lines of text."""

from collections.abc import Mapping
from typing import cast

from router.artifact import Artifact


def summary(artifact: Artifact, max_loss: float) -> str:
    """Held-out calibration, accuracy and tokens, and what the router certifies at `max_loss`."""
    metrics = cast("Mapping[str, float]", artifact.metrics)
    price = dict(artifact.prices.certified)[max_loss]
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
        certificate + ("not certified" if price is None else f"price {price:g} per 1,000 tokens"),
        f"held out: accuracy {metrics['accuracy']:.4f} (baseline "
        f"{metrics['baseline_accuracy']:.4f}), tokens {metrics['tokens']:.1f} (baseline "
        f"{metrics['baseline_tokens']:.1f})",
    ))  # fmt: skip
