"""A replay as a plot: accuracy over tokens, for the router and for the baselines."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class PlotError(Exception):
    """The plot cannot be written; the message says what to do."""


def draw(result: Mapping[str, Any], model: str, path: Path) -> None:
    """Write the frontiers of a replay as PNG, SVG or PDF, by the ending of `path`.

    Raises:
        PlotError: matplotlib is missing, or does not know the ending.
    """
    try:
        figures: Any = importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise PlotError("--plot needs matplotlib: pip install 'tops-server[plot]'") from error
    figure = figures.Figure(figsize=(7.0, 4.5), layout="constrained")
    axes = figure.subplots()
    frontier = sorted((step["tokens"], step["accuracy"]) for step in result["frontier"])
    axes.plot(*zip(*frontier, strict=True), color="tab:blue", label="router, any price")
    baselines = result["baselines"]
    fixed = {name: entry for name, entry in baselines.items() if name.startswith("fixed:")}
    _point(axes, fixed.values(), marker="s", color="tab:gray", label="fixed effort")
    for name, entry in fixed.items():
        axes.annotate(
            name.removeprefix("fixed:"),
            (entry["tokens"], entry["accuracy"]),
            textcoords="offset points",
            xytext=(6, -10),
        )
    _point(axes, [baselines["random"]], marker="x", color="tab:red", label="random mixture")
    _point(axes, [baselines["knn"]], marker="d", color="tab:orange", label="nearest neighbours")
    _point(axes, [result["oracle"]], marker="*", color="tab:green", label="oracle")
    _point(axes, [result["policy"]], marker="o", color="tab:blue", label="policy")
    axes.set_xlabel("mean thinking tokens")
    axes.set_ylabel("accuracy")
    axes.set_title(f"{model}, {result['problems']} problems, 95 % intervals")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    try:
        figure.savefig(path, dpi=150)
    except ValueError as error:
        raise PlotError(f"{path}: {error}") from error


def _point(axes: Any, entries: Any, **style: Any) -> None:
    """Points with error bars on both axes."""
    points = list(entries)
    bars = {
        axis: [
            [entry[name] - entry[f"{name}_ci"][0] for entry in points],
            [entry[f"{name}_ci"][1] - entry[name] for entry in points],
        ]
        for axis, name in (("xerr", "tokens"), ("yerr", "accuracy"))
    }
    tokens = [entry["tokens"] for entry in points]
    accuracy = [entry["accuracy"] for entry in points]
    axes.errorbar(tokens, accuracy, **bars, linestyle="none", capsize=2, **style)
