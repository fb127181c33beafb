"""The plots of a run's report, drawn by matplotlib (extra `train`)."""

import importlib
import io
from collections.abc import Callable, Mapping
from typing import Any

_Draw = Callable[[Mapping[str, Any], Any], None]


def draw_plots(report: Mapping[str, Any]) -> dict[str, bytes]:
    """PNG images by name; `efforts_difficulty` needs a model that chooses its own effort."""
    plots: dict[str, _Draw] = {
        "accuracy_tokens": _accuracy_by_tokens,
        "tokens_difficulty": _tokens_by_difficulty,
    }
    if report["shares"]:
        plots["efforts_difficulty"] = _efforts_by_difficulty
    return {name: _png(draw, report) for name, draw in plots.items()}


def _png(draw: _Draw, report: Mapping[str, Any]) -> bytes:
    matplotlib: Any = importlib.import_module("matplotlib.figure")
    figure = matplotlib.Figure(figsize=(8, 5), dpi=120, layout="constrained")
    draw(report, figure.add_subplot())
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()


def _accuracy_by_tokens(report: Mapping[str, Any], axes: Any) -> None:
    models = list(dict.fromkeys(policy["model"] for policy in report["policies"]))
    for index, model in enumerate(models):
        policies = [policy for policy in report["policies"] if policy["model"] == model]
        tokens = [policy["tokens"]["value"] for policy in policies]
        accuracies = [100 * policy["accuracy"]["value"] for policy in policies]
        errors = [
            [
                100 * abs(policy["accuracy"][end] - policy["accuracy"]["value"])
                for policy in policies
            ]
            for end in ("low", "high")
        ]
        axes.errorbar(
            tokens, accuracies, yerr=errors, fmt="o", capsize=3, color=f"C{index}", label=model
        )
        for policy, x, y in zip(policies, tokens, accuracies, strict=True):
            axes.annotate(policy["effort"], (x, y), textcoords="offset points", xytext=(6, 6))
    axes.set_xlabel("mean completion tokens")
    axes.set_ylabel("accuracy, %")
    axes.legend()
    axes.grid(alpha=0.3)


def _tokens_by_difficulty(report: Mapping[str, Any], axes: Any) -> None:
    policies = [policy for policy in report["policies"] if policy["bands"]]
    for policy in policies:
        axes.plot(
            list(policy["bands"]),
            [band["tokens"]["value"] for band in policy["bands"].values()],
            "o-",
            label=f"{policy['model']}, {policy['effort']}",
        )
    axes.set_ylabel("mean completion tokens")
    axes.set_title("" if policies else "the problems have no known difficulty")
    if policies:
        axes.legend()
    axes.grid(alpha=0.3)


def _efforts_by_difficulty(report: Mapping[str, Any], axes: Any) -> None:
    model, shares = list(report["shares"].items())[-1]
    levels = [level.removesuffix(".0") for level in shares]
    bottoms = [0.0] * len(levels)
    for effort in next(iter(shares.values())):
        heights = [100 * share[effort] for share in shares.values()]
        axes.bar(levels, heights, bottom=bottoms, label=effort)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    axes.set_xlabel("difficulty")
    axes.set_ylabel("share of problems, %")
    axes.set_title(f"{model}, auto: the fixed effort with the nearest token count")
    axes.legend()
