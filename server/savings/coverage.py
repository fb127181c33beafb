"""How often the interval holds the truth: python -m server.savings.coverage.

Simulated ledgers with few held out conversations and heavy-tailed lengths. `former` is Student's
interval with a ratio estimator over conversations, which `tops savings` gave up to version 0.1.0.
"""

from math import sqrt

import click
import numpy as np

from server.savings.estimator import estimate
from server.savings.regression import fit, leverages
from server.savings.sample import Array, Sample
from server.savings.studentized import student_quantile

_LAWS = {
    "log-normal 1": ("log-normal", 1.0), "log-normal 1.5": ("log-normal", 1.5),
    "log-normal 2": ("log-normal", 2.0), "Pareto 3": ("Pareto", 3.0),
    "Pareto 2.5": ("Pareto", 2.5), "Pareto 2": ("Pareto", 2.0), "Pareto 1.5": ("Pareto", 1.5),
}  # fmt: skip
_PREDICTIONS = ("known", "half", "unknown")
_P_HELD_OUT = 0.03


def simulate(
    rng: np.random.Generator, held_out: int, law: str, prediction: str, unequal: bool
) -> tuple[Sample, float]:
    """A ledger, and what was truly saved.

    Args:
        rng: the source of randomness.
        held_out: the expected number of held out conversations.
        law: of the conversations' lengths per request, a name in `_LAWS`.
        prediction: whether the router knows a conversation's length, half of its logarithm, or
            nothing of it.
        unequal: conversations of 1 to 200 requests, else of 1 to 4.
    """
    number = int(held_out / _P_HELD_OUT)
    turns = rng.integers(1, 5, number)
    if unequal:
        turns = np.minimum(1 + rng.lognormal(0.7, 1.2, number).astype(int), 200)
    conversation = np.repeat(np.arange(number), turns)
    name, shape = _LAWS[law]
    length = (
        rng.lognormal(0, shape, number) if name == "log-normal" else 1 + rng.pareto(shape, number)
    )
    alike = rng.normal(0, 0.25, number)[conversation]
    baseline = 250 * length[conversation] * np.exp(alike + rng.normal(0, 0.4, len(conversation)))
    exponent = {"known": 1.0, "half": 0.5, "unknown": 0.0}[prediction]
    noise = 0.0 if exponent == 1 else 0.4
    predicted = 250 * (length**exponent * rng.lognormal(0, noise, number))[conversation]
    chosen = baseline * np.where(predicted < 300, 0.2, 1.0)
    is_held_out = (rng.random(number) < _P_HELD_OUT)[conversation]
    sample = Sample(
        treated=~is_held_out,
        conversation=conversation,
        p_treated=np.full(len(is_held_out), 1 - _P_HELD_OUT),
        p_held_out=np.full(len(is_held_out), _P_HELD_OUT),
        outcomes=np.where(is_held_out, baseline, chosen),
        predicted=predicted,
    )
    return sample, float((baseline - chosen)[~is_held_out].sum())


def former(sample: Sample, saved: float) -> tuple[float, float]:
    """The former interval around the same estimate."""
    is_held_out = ~sample.treated
    middle = float(sample.predicted.mean())
    line = fit(sample.predicted[is_held_out], sample.outcomes[is_held_out], middle)
    leverage = leverages(sample.predicted[is_held_out], middle).clip(0.0, 0.9)
    residual = (sample.outcomes[is_held_out] - line.at(sample.predicted[is_held_out])) / (
        1 - leverage
    )
    entering = np.sqrt(sample.p_treated**2 / sample.p_held_out + sample.p_treated)
    expected = entering * line.at(sample.predicted)

    def squares(rows: np.ndarray, values: Array) -> float:
        return float((np.bincount(sample.conversation[rows], weights=values) ** 2).sum())

    weight = (entering / np.sqrt(sample.p_held_out))[is_held_out]
    squares_seen = squares(
        is_held_out, expected[is_held_out] / np.sqrt(sample.p_held_out[is_held_out])
    )
    variance = (
        squares(is_held_out, weight * residual)
        * squares(is_held_out | True, expected)
        / squares_seen
    )
    conversations = len(np.unique(sample.conversation[is_held_out]))
    half_width = student_quantile(0.975, conversations - 2) * sqrt(variance)
    return saved - half_width, saved + half_width


@click.command(help=__doc__)
@click.option("--ledgers", default=1_000, show_default=True, help="Simulated ledgers per line.")
@click.option("--held-out", "sizes", multiple=True, type=int, default=(60, 200), show_default=True)
@click.option("--law", "laws", multiple=True, type=click.Choice([*_LAWS]), default=[*_LAWS])
@click.option(
    "--prediction", "predictions", multiple=True, default=_PREDICTIONS,
    type=click.Choice(_PREDICTIONS), help="What the router knows of a length.",
)  # fmt: skip
@click.option("--unequal/--few", default=True, help="Conversations of up to 200 requests, or 4.")
def main(
    ledgers: int,
    sizes: tuple[int, ...],
    laws: tuple[str, ...],
    predictions: tuple[str, ...],
    unequal: bool,
) -> None:
    """Print a table in Markdown: coverage in percent, and the median width over the former one."""
    print("| held out | length | predicted | former | now | width | warned |")
    print("| ---: | --- | --- | ---: | ---: | ---: | ---: |")
    for held_out in sizes:
        for prediction in predictions:
            for law in laws:
                rng = np.random.default_rng(5)
                covered, widths, warned = np.zeros(2), list[float](), 0
                for _ in range(ledgers):
                    sample, truth = simulate(rng, held_out, law, prediction, unequal)
                    saving = estimate(sample)
                    low, high = former(sample, saving.saved)
                    covered += (
                        low <= truth <= high,
                        saving.interval[0] <= truth <= saving.interval[1],
                    )
                    widths.append((saving.interval[1] - saving.interval[0]) / (high - low))
                    warned += saving.heavy_tail
                before, now = 100 * covered / ledgers
                print(
                    f"| {held_out} | {law} | {prediction} | {before:.1f} | {now:.1f} | "
                    f"{np.median(widths):.2f} | {100 * warned / ledgers:.0f} % |",
                    flush=True,
                )


if __name__ == "__main__":
    main(prog_name="python -m server.savings.coverage")
