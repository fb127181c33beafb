"""Plots of accuracy over tokens: a replay beside its baselines, and an audit of fixed efforts."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MAX_PANELS = 6


class PlotError(Exception):
    """The plot cannot be written; the message says what to do."""


def check_plot(path: Path) -> None:
    """Raises PlotError: matplotlib is missing, or does not know the ending of `path`."""
    endings = _figure(1, 1).canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in ("", *endings):
        raise PlotError(f"{path}: name a file that ends in one of {', '.join(endings)}")


def draw(result: Mapping[str, Any], model: str, path: Path) -> None:
    """Write the frontiers of a replay as PNG, SVG or PDF, by the ending of `path`."""
    figure = _figure(7.0, 4.5)
    axes = figure.subplots()
    frontier = sorted((step["tokens"], step["accuracy"]) for step in result["frontier"])
    axes.plot(*zip(*frontier, strict=True), color="tab:blue", label="router, any price")
    baselines = result["baselines"]
    fixed = {name: entry for name, entry in baselines.items() if name.startswith("fixed:")}
    _point(axes, fixed.values(), marker="s", color="tab:gray", label="fixed effort")
    _names(axes, {name.removeprefix("fixed:"): entry for name, entry in fixed.items()})
    _point(axes, [baselines["random"]], marker="x", color="tab:red", label="random mixture")
    _point(axes, [baselines["knn"]], marker="d", color="tab:orange", label="nearest neighbours")
    _point(axes, [result["oracle"]], marker="*", color="tab:green", label="oracle")
    _point(axes, [result["policy"]], marker="o", color="tab:blue", label="policy")
    _label(axes, f"{model}, {result['problems']} problems, 95 % intervals")
    figure.savefig(path, dpi=150)


def draw_audit(result: Mapping[str, Any], path: Path) -> None:
    """Write each effort's accuracy over its tokens, overall and for the largest kinds."""
    parts = {result["model"]: result, **result["kinds"]}
    panels = dict(list(parts.items())[:_MAX_PANELS])
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = _figure(7.0 if columns == 1 else 4.5 * columns, 4.5 if rows == 1 else 3.8 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axes, (name, part) in zip(grid, panels.items(), strict=False):
        efforts = part["efforts"]
        recommended = {part["recommended"]: efforts[part["recommended"]]}
        _point(axes, efforts.values(), marker="s", color="tab:gray", label="fixed effort")
        _point(axes, recommended.values(), marker="o", color="tab:blue", label="recommended")
        _names(axes, efforts)
        _label(axes, f"{name}, {part['prompts']} prompts, 95 % intervals")
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    figure.savefig(path, dpi=150)


def _figure(width: float, height: float) -> Any:
    """An empty figure, sizes in inches."""
    try:
        figures: Any = importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise PlotError("--plot needs matplotlib: pip install 'tops-server[plot]'") from error
    return figures.Figure(figsize=(width, height), layout="constrained")


def _names(axes: Any, entries: Mapping[str, Any]) -> None:
    """Write the name of each effort beside its point."""
    for name, entry in entries.items():
        axes.annotate(
            name,
            (entry["tokens"], entry["accuracy"]),
            textcoords="offset points",
            xytext=(6, -10),
        )


def _label(axes: Any, title: str) -> None:
    axes.set_xlabel("mean thinking tokens")
    axes.set_ylabel("accuracy")
    axes.set_title(title)
    axes.margins(x=0.12)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="lower right")


def _point(axes: Any, entries: Any, **style: Any) -> None:
    """Points with error bars on both axes."""
    points = list(entries)
    bars = {
        axis: [[max(end, 0.0) for end in ends] for ends in _lengths(points, name)]
        for axis, name in (("xerr", "tokens"), ("yerr", "accuracy"))
    }
    tokens = [entry["tokens"] for entry in points]
    accuracy = [entry["accuracy"] for entry in points]
    axes.errorbar(tokens, accuracy, **bars, linestyle="none", capsize=2, **style)


def _lengths(points: Any, name: str) -> tuple[list[float], list[float]]:
    """Lengths of the error bars below and above; of constants, rounding makes them negative."""
    return (
        [entry[name] - entry[f"{name}_ci"][0] for entry in points],
        [entry[f"{name}_ci"][1] - entry[name] for entry in points],
    )
