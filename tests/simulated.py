"""Outcomes of a make-believe model on demo stories, whose true P(correct) is known."""

from itertools import islice
from math import exp

import numpy as np

from models.domain.stories import Story, stories
from router.fitting.fit import FitSettings
from router.fitting.outcomes import Outcome, OutcomeSet

LADDER = {"none": (1.0, 1.6), "low": (4.0, 0.7), "medium": (7.0, 0.8), "high": (8.0, 0.8)}
"""Per effort: the logit of P(correct) at no step at all, and what each step takes from it."""
CROSS_FITTED_ONCE = FitSettings(max_loss=0.001)
"""So small a loss that a fit of some hundred problems is not repeated: a third of the time."""

TOKENS_PER_STEP = {"none": 0.0, "low": 2.5, "medium": 9.0, "high": 45.0}


def true_p(story: Story, effort: str) -> float:
    """P(correct) of the make-believe model."""
    start, slope = LADDER[effort]
    return 1 / (1 + exp(slope * story.difficulty - start))


def simulated(problems: int, seed: int = 0, samples: int = 1, flat: bool = False) -> OutcomeSet:
    """Outcomes of all efforts; with `flat`, correctness has nothing to do with the prompt."""
    rng = np.random.default_rng(seed)
    outcomes = [
        Outcome(
            problem_id=story.problem_id,
            messages=story.prompt,
            model="make-believe",
            effort=effort,
            sample=sample,
            correct=int(rng.random() < (0.6 if flat else true_p(story, effort))),
            tokens=int(TOKENS_PER_STEP[effort] * story.difficulty * np.exp(0.2 * rng.normal())),
            weights="w1",
        )
        for story in islice(stories(seed), problems)
        for effort in LADDER
        for sample in range(samples)
    ]
    return OutcomeSet(tuple(outcomes), "make-believe", "w1", (), 0)
