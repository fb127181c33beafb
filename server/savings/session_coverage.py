"""How often intervals per conversation hold the truth: python -m server.savings.session_coverage.

Simulated conversations with heavy-tailed costs, of which the more costly ones are solved less
often. Each has its cost in both arms, so that both truths are known.
"""

from math import log

import click
import numpy as np

from server.ledger.conversation_figures import (
    MEASURES,
    ConversationMoments,
    ConversationSample,
)
from server.savings.conversations import ConversationEvidence, per_conversation, per_solved
from server.savings.sample import Array

_SPREADS = (0.5, 1.0, 1.5, 2.0)
_P_HELD_OUT = 0.03
_FACTOR = 0.6
"""Cost of a treated conversation: this much, and less the more it costs."""

_SOLVED = {"treated": 0.58, "holdout": 0.6}
_ESTIMATES = {"per_conversation": per_conversation, "per_solved": per_solved}
_MANY = 4_000_000


def draw(rng: np.random.Generator, number: int, spread: float) -> dict[str, Array]:
    """Costs and chances to be solved, of each conversation in both arms (N,)."""
    size = rng.normal(0, spread, number)
    noise = rng.normal(0, 0.5, (2, number))
    turns = 1 + rng.poisson(3, number)
    return {
        "holdout": 300 * turns * np.exp(size + noise[0]),
        "treated": 300 * turns * _FACTOR * np.exp(0.9 * size + noise[1]),
        "difficulty": size,
    }


def solved(rng: np.random.Generator, costs: dict[str, Array], arm: str) -> Array:
    """Whether each conversation solves its task in an arm: large ones do less often (N,)."""
    odds = log(_SOLVED[arm] / (1 - _SOLVED[arm])) - 0.5 * costs["difficulty"]
    return (rng.random(len(odds)) < 1 / (1 + np.exp(-odds))).astype(float)


def true_share(spread: float) -> float:
    """What is saved per solved conversation in the long run."""
    rng = np.random.default_rng(99)
    costs = draw(rng, _MANY, spread)
    ratio = {arm: costs[arm].sum() / solved(rng, costs, arm).sum() for arm in _SOLVED}
    return float(1 - ratio["treated"] / ratio["holdout"])


def evidence(
    rng: np.random.Generator, held_out: int, spread: float
) -> tuple[dict[str, float], ConversationEvidence]:
    """A ledger's evidence, and the true share that its treated conversations saved."""
    number = int(held_out / _P_HELD_OUT)
    costs = draw(rng, number, spread)
    is_held = rng.random(number) < _P_HELD_OUT
    parts: dict[str, ConversationSample] = {}
    moments: list[ConversationMoments] = []
    for arm, rows in (("treated", ~is_held), ("holdout", is_held)):
        cost, score = costs[arm][rows], solved(rng, costs, arm)[rows]
        measures = np.repeat(cost[:, None], len(MEASURES), axis=1)
        p = np.full(len(cost), 1 - _P_HELD_OUT)
        parts[arm] = ConversationSample(measures, score, p, 1 - p)
        weight = (p**2 / (1 - p) + p).sum()
        of = measures * score[:, None]
        moments.append(
            ConversationMoments(
                arm, True, True, len(cost), float(score.sum()), float((score**2).sum()),
                float(weight), measures.sum(axis=0), (measures**2).sum(axis=0), of.sum(axis=0),
            )
        )  # fmt: skip
    treated, baseline = costs["treated"][~is_held].sum(), costs["holdout"][~is_held].sum()
    shown = ConversationEvidence(moments, parts["holdout"], parts["treated"], parts["treated"])
    return {"per_conversation": float(1 - treated / baseline)}, shown


@click.command(help=__doc__)
@click.option("--ledgers", default=400, show_default=True, help="Simulated ledgers per line.")
@click.option("--held-out", "sizes", multiple=True, type=int, default=(60, 200), show_default=True)
def main(ledgers: int, sizes: tuple[int, ...]) -> None:
    """Print a table in Markdown: coverage in percent, median widths, intervals without an end."""
    print("| held out | spread | conversation | width | solved one | width | without end |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    truths = {spread: true_share(spread) for spread in _SPREADS}
    for held_out in sizes:
        for spread in _SPREADS:
            rng = np.random.default_rng(5)
            covered = {"per_conversation": 0, "per_solved": 0}
            widths: dict[str, list[float]] = {name: [] for name in covered}
            unbounded = 0
            for _ in range(ledgers):
                truth, shown = evidence(rng, held_out, spread)
                truth["per_solved"] = truths[spread]
                for name, estimated in _ESTIMATES.items():
                    ends = estimated(shown, "all_tokens")["share_ci"]
                    unbounded += ends is None and name == "per_solved"
                    low, high = ends or (-np.inf, np.inf)
                    covered[name] += low <= truth[name] <= high
                    widths[name].append(high - low)
            cells = [
                f"{100 * covered[name] / ledgers:.1f} | {np.median(widths[name]):.2f}"
                for name in covered
            ]
            cells.append(f"{100 * unbounded / ledgers:.0f} %")
            print(f"| {held_out} | {spread} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(prog_name="python -m server.savings.session_coverage")
