"""How long `tops fit` takes on a large log, and how much memory: this checkout against another.

    python -m models.studies.fit_speed --against ../other-checkout --rounds 3

Both fit the same generated log in turn, each in a process of its own on one thread; the routers'
estimates are then compared.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import numpy as np

from models.domain.stories import write_story
from router.artifact import load
from router.estimate import predict
from router.features import read_prompt
from router.messages import read_messages

ROOT = Path(__file__).resolve().parents[2]
EFFORTS: Mapping[str, tuple[float, float]] = {
    "low": (2.0, 9.0),
    "medium": (5.0, 40.0),
    "high": (9.0, 160.0),
}
"""The number of steps that half of the answers survive, and the mean tokens per step."""
_SAMPLES = 2
_WORDS = 30_000
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_RUN = (
    "import resource, runpy, sys; sys.argv = ['tops', *sys.argv[1:]]\n"
    "try:\n    runpy.run_module('tops', run_name='__main__')\n"
    "finally:\n"
    "    used = resource.getrusage(resource.RUSAGE_SELF)\n"
    "    print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, file=sys.stderr)\n"
)


def rows(problems: int, seed: int = 0) -> Iterator[Mapping[str, object]]:
    """Judged generations of stories, each with a lead of words by Zipf's law, at three efforts."""
    rng = random.Random(seed)
    words = [
        "".join(rng.choices("abcdefghijklmnoprstuvw", k=rng.randint(3, 10))) for _ in range(_WORDS)
    ]
    weights = np.cumsum(1.0 / np.arange(2, _WORDS + 2)).tolist()
    for number in range(problems):
        steps = rng.randint(1, 9)
        lead = rng.choices(words, cum_weights=weights, k=rng.randint(5, 60))
        prompt = f"{' '.join(lead).capitalize()}. {write_story(rng, steps).prompt}"
        for effort, (reach, spent) in EFFORTS.items():
            for sample in range(_SAMPLES):
                tokens = max(int(spent * steps * rng.lognormvariate(0.0, 0.4)), 1)
                yield {
                    "problem_id": f"p{number}", "prompt": prompt, "model": "m", "effort": effort,
                    "sample": sample, "correct": int(rng.random() < 1 / (1 + 2 ** (steps - reach))),
                    "tokens": tokens + 12, "thinking_tokens": tokens, "response": None,
                }  # fmt: skip


def measure(checkout: Path, log: Path, router: Path) -> tuple[float, float]:
    """CPU seconds and peak MiB of `tops fit` of a checkout."""
    command = [sys.executable, "-c", _RUN, "fit", str(log), "--out", str(router)]
    environment = {**os.environ, **_ONE_THREAD, "PYTHONPATH": str(checkout)}
    finished = subprocess.run(  # noqa: S603 - a checkout that the user names
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    if not router.exists():
        raise click.ClickException(finished.stderr)
    seconds, peak = finished.stderr.split("\n")[-2].split()
    return float(seconds), float(peak)


def difference(routers: tuple[Path, Path], prompts: list[str]) -> float:
    """The largest difference of two routers' P(correct), and of their tokens as a share."""
    read = [read_prompt(read_messages(prompt)) for prompt in prompts]
    x, words = np.stack([prompt.x for prompt in read]), [prompt.words for prompt in read]
    a, b = (predict(load(router).parameters, x, words, [None] * len(words)) for router in routers)
    return max(
        float(np.abs(a.p_correct - b.p_correct).max()),
        float((np.abs(a.tokens - b.tokens) / np.maximum(b.tokens, 1.0)).max()),
    )


@click.command()
@click.option("--problems", default=50_000, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--against", type=click.Path(path_type=Path, exists=True), help="Another checkout.")
@click.option("--log", type=click.Path(path_type=Path), help="Where the log is kept.")
def main(problems: int, rounds: int, against: Path | None, log: Path | None) -> None:
    """Measure tops fit on a generated log."""
    with tempfile.TemporaryDirectory() as folder:
        file = log or Path(folder) / "outcomes.jsonl"
        if not file.exists():
            with file.open("w") as stream:
                stream.writelines(json.dumps(row) + "\n" for row in rows(problems))
        checkouts = [ROOT] if against is None else [against, ROOT]
        routers = [Path(folder) / f"{number}.json" for number in range(len(checkouts))]
        for round_number in range(rounds):
            for checkout, router in zip(checkouts, routers, strict=True):
                seconds, peak = measure(checkout, file, router)
                click.echo(
                    f"{round_number + 1} {checkout.name}: {seconds:.1f} s of CPU, {peak:.0f} MiB"
                )
        if against is not None:
            prompts = [str(row["prompt"]) for row in rows(300, seed=1)][:: 3 * _SAMPLES]
            apart = difference((routers[0], routers[1]), prompts)
            click.echo(f"largest difference of the estimates: {apart:.1e}")


if __name__ == "__main__":
    main()
