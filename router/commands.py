"""The router's commands: `tops fit`, `tops route`, `tops replay`.

Argument parsing and printing only. Exit status 0, or 1 with one sentence on standard error.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from router.artifact import Artifact, ArtifactError, load, save
from router.evaluation.plot import PlotError, draw
from router.evaluation.replay import replay
from router.evaluation.report import table
from router.fitting.fit import FitSettings, fit
from router.fitting.outcomes import OutcomeError, read_outcomes
from router.policy import Policy
from router.router import Route, Router


def fit_main(argv: Sequence[str]) -> int:
    """Fit and calibrate a router for one model."""
    parser = argparse.ArgumentParser("tops fit", description="Fit a router to judged outcomes.")
    parser.add_argument("outcomes", nargs="+", type=Path, help="JSON Lines, or NAME.outcomes.csv")
    parser.add_argument("--out", required=True, type=Path, help="the artifact to write")
    parser.add_argument("--model", help="whose rows to use, where files hold several models")
    parser.add_argument(
        "--baseline", help="effort without a router (default: high, else the best fixed one)"
    )
    parser.add_argument(
        "--max-loss", type=_share, default=0.01, help="accuracy loss allowed (0.01)"
    )
    parser.add_argument("--delta", type=_share, default=0.1, help="1 - confidence (0.1)")
    options = parser.parse_args(argv)

    settings = FitSettings(options.baseline, options.max_loss, options.delta)
    try:
        fitted = fit(read_outcomes(options.outcomes, options.model), settings)
    except OutcomeError as error:
        return _fail(error)
    for warning in fitted.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    try:
        save(fitted.artifact, options.out)
    except OSError as error:
        return _fail(f"{options.out} cannot be written: {error.strerror}")
    print(summary(fitted.artifact, options.max_loss))
    return 0


def summary(artifact: Artifact, max_loss: float) -> str:
    """What a fit came to, in a few lines."""
    metrics = cast("Mapping[str, float]", artifact.metrics)
    price = dict(artifact.prices.certified)[max_loss]
    promise = f"loss <= {max_loss:g} with confidence {1 - artifact.delta:g}: "
    return "\n".join((
        f"{artifact.model}: {', '.join(artifact.efforts)}; baseline {artifact.baseline}; "
        f"{artifact.provenance['problems']} problems",
        f"held out: ECE {metrics['ece']:.4f}, Brier {metrics['brier']:.4f} "
        f"({metrics['brier_without_features']:.4f} knowing nothing of the prompt)",
        promise + ("not certified" if price is None else f"1,000 tokens are worth {price:g}"),
        f"held out: accuracy {metrics['accuracy']:.4f} (baseline "
        f"{metrics['baseline_accuracy']:.4f}), tokens {metrics['tokens']:.1f} (baseline "
        f"{metrics['baseline_tokens']:.1f})",
    ))  # fmt: skip


def route_main(argv: Sequence[str]) -> int:
    """Explain the decision for prompts."""
    parser = argparse.ArgumentParser("tops route", description="Explain the router's decisions.")
    parser.add_argument("--router", required=True, type=Path, help="the artifact")
    parser.add_argument("--input", type=Path, help="JSON Lines with prompt or messages")
    parser.add_argument("prompt", nargs="?", help="one prompt")
    parser.add_argument("--json", action="store_true", help="one object a line")
    _add_policy(parser)
    options = parser.parse_args(argv)
    if (options.prompt is None) == (options.input is None):
        parser.error("give either a PROMPT or --input FILE")

    try:
        router = Router.load(options.router)
        asked = [{"prompt": options.prompt}] if options.input is None else _lines(options.input)
        for fields in asked:
            messages = fields.get("messages") or fields.get("prompt")
            route = router.route(messages, None, _policy(options))
            print(_json(fields, route) if options.json else _explain(messages, route))
    except (ArtifactError, OSError, ValueError) as error:
        return _fail(error)
    return 0


def replay_main(argv: Sequence[str]) -> int:
    """Judge a router on logged outcomes."""
    parser = argparse.ArgumentParser("tops replay", description="Judge a router on outcomes.")
    parser.add_argument("outcomes", nargs="+", type=Path, help="JSON Lines, or NAME.outcomes.csv")
    parser.add_argument("--router", required=True, type=Path, help="the artifact")
    parser.add_argument("--model", help="whose rows to use (default: the artifact's model)")
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the frontiers")
    _add_policy(parser)
    options = parser.parse_args(argv)

    try:
        artifact = load(options.router)
        reading = read_outcomes(options.outcomes, options.model or artifact.model)
        result = replay(artifact, reading, _policy(options))
        if options.plot is not None:
            draw(result, artifact.model, options.plot)
    except (ArtifactError, OutcomeError, PlotError, OSError) as error:
        return _fail(error)
    for warning in reading.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(json.dumps(result) if options.json else table(result))
    return 0


def _add_policy(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--max-loss", type=_share, default=0.01, help="mode quality (default 0.01)")
    group.add_argument("--price", type=_positive, help="mode price: accuracy per 1,000 tokens")
    group.add_argument("--tokens", type=_positive, help="mode budget: mean tokens of a request")
    group.add_argument("--effort", help="mode fixed")


def _policy(options: argparse.Namespace) -> Policy:
    if options.effort is not None:
        return Policy("fixed", effort=options.effort)
    if options.price is not None:
        return Policy("price", price=options.price)
    if options.tokens is not None:
        return Policy("budget", tokens=options.tokens)
    return Policy("quality", max_loss=options.max_loss)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _lines(path: Path) -> Iterator[Mapping[str, object]]:
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                fields: object = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}:{number}: not JSON ({error})") from error
            if not isinstance(fields, dict):
                raise ValueError(f"{path}:{number}: not an object")  # noqa: TRY004 (of the data)
            yield cast("dict[str, object]", fields)


def _json(fields: Mapping[str, object], route: Route) -> str:
    found = route.estimate
    document = {
        "effort": route.effort,
        "budget": route.budget,
        "difficulty": found and found.difficulty,
        "p_correct": found and found.p_correct,
        "tokens": found and found.tokens,
        "budgets": found and found.budget,
        "reason": route.reason,
        "abstained": route.abstained,
    }
    named = {"problem_id": fields["problem_id"]} if "problem_id" in fields else {}
    return json.dumps({**named, **document})


def _explain(messages: object, route: Route) -> str:
    lines = [f"{' '.join(str(messages).split())[:70]}", f"  {route.effort}: {route.reason}"]
    if route.estimate is not None:
        lines.append(f"  difficulty {route.estimate.difficulty:.2f}; budget {route.budget}")
        lines.extend(
            f"  {effort:<10}P(correct) {p:.3f}   tokens {route.estimate.tokens[effort]:.0f}"
            for effort, p in route.estimate.p_correct.items()
        )
    return "\n".join(lines)


def _fail(error: object) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 1
