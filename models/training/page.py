"""The report of a run as one self-contained page: tables, and plots as PNG within it."""

import base64
import importlib
import io
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}: accuracy and tokens</title>
<style>
:root {{ font: 16px/1.5 system-ui, sans-serif; color: #1f2937; background: #fff; }}
body {{ max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }}
div {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 0.9rem; }}
th, td {{ padding: 0.25rem 0.75rem; text-align: right; border-bottom: 1px solid #d1d5db; }}
th:first-child, td:first-child {{ text-align: left; }}
img {{ max-width: 100%; height: auto; }}
</style>
<h1>{name}: accuracy and tokens</h1>
<p>{problems} held-out problems, {samples} samples each at temperature {temperature}. Brackets are
95 % intervals by bootstrap over problems. Thirds are by the problems' known difficulty.</p>
<h2>Models and efforts</h2>
<div><table>{policies}</table></div>
<h2>Held against each other</h2>
<p>Differences of accuracy in points, and tokens as a ratio, on the same problems.</p>
<div><table>{comparisons}</table></div>
{plots}
</html>
"""


def page(report: Mapping[str, Any], folder: Path) -> str:
    """HTML without anything external; the plots are written to `folder` as files, too."""
    plots: list[str] = []
    drawn = [("accuracy_tokens", _accuracy_tokens), ("tokens_difficulty", _tokens_difficulty)]
    if report["shares"]:
        drawn.append(("efforts_difficulty", _efforts_difficulty))
    for name, draw in drawn:
        image = _image(draw, report)
        (folder / f"{name}.png").write_bytes(image)
        data = base64.b64encode(image).decode()
        plots.append(f'<img alt="{name.replace("_", " by ")}" src="data:image/png;base64,{data}">')
    return _PAGE.format(
        name=escape(report["recipe"]),
        problems=report["problems"],
        samples=report["samples"],
        temperature=report["temperature"],
        policies=_policies(report["policies"]),
        comparisons=_comparisons(report["comparisons"]),
        plots="\n".join(plots),
    )


def percent(figure: Mapping[str, float]) -> str:
    """An accuracy with its interval."""
    return f"{figure['value']:.1%} [{figure['low']:.1%}, {figure['high']:.1%}]"


def points(figure: Mapping[str, float]) -> str:
    """A difference of accuracies with its interval, in points."""
    return f"{100 * figure['value']:+.1f} [{100 * figure['low']:+.1f}, {100 * figure['high']:+.1f}]"


def ratio(figure: Mapping[str, float]) -> str:
    """A ratio with its interval."""
    return f"{figure['value']:.2f} [{figure['low']:.2f}, {figure['high']:.2f}]"


def number(figure: Mapping[str, float]) -> str:
    """A mean with its interval."""
    return f"{figure['value']:.1f} [{figure['low']:.1f}, {figure['high']:.1f}]"


def _policies(policies: Sequence[Mapping[str, Any]]) -> str:
    bands = list(policies[0]["bands"])
    rows = [["model, effort", "accuracy", "thinking tokens", "tokens", *bands]]
    rows += [
        [
            f"{one['model']}, {one['effort']}",
            percent(one["accuracy"]),
            number(one["thinking_tokens"]),
            number(one["tokens"]),
            *(
                f"{band['accuracy']['value']:.1%} / {band['tokens']['value']:.0f}"
                for band in one["bands"].values()
            ),
        ]
        for one in policies
    ]
    return _table(rows)


def _comparisons(comparisons: Sequence[Mapping[str, Any]]) -> str:
    bands = list(comparisons[0]["bands"]) if comparisons else []
    rows = [["this against other", "accuracy, points", "tokens, ratio", *bands]]
    rows += [
        [
            f"{one['this']} against {one['other']}",
            points(one["accuracy"]),
            ratio(one["tokens_ratio"]),
            *(
                f"{points(band['accuracy'])} / {band['tokens_ratio']['value']:.2f}"
                for band in one["bands"].values()
            ),
        ]
        for one in comparisons
    ]
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = (
        "".join(f"<{cell}>{escape(text)}</{cell}>" for text in row)
        for cell, row in zip(["th", *["td"] * (len(rows) - 1)], rows, strict=True)
    )
    return "\n".join(f"<tr>{row}</tr>" for row in [head, *body])


def _image(draw: Callable[[Mapping[str, Any], Any], None], report: Mapping[str, Any]) -> bytes:
    drawing: Any = importlib.import_module("matplotlib.figure")  # only in the extra [train]
    figure = drawing.Figure(figsize=(8, 5), dpi=120, layout="constrained")
    draw(report, figure.add_subplot())
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _accuracy_tokens(report: Mapping[str, Any], axes: Any) -> None:
    models = list(dict.fromkeys(one["model"] for one in report["policies"]))
    for at, model in enumerate(models):
        mine = [one for one in report["policies"] if one["model"] == model]
        x = [one["tokens"]["value"] for one in mine]
        y = [100 * one["accuracy"]["value"] for one in mine]
        spread = [
            [100 * abs(one["accuracy"][end] - one["accuracy"]["value"]) for one in mine]
            for end in ("low", "high")
        ]
        axes.errorbar(x, y, yerr=spread, fmt="o", capsize=3, color=f"C{at}", label=model)
        for one, left, top in zip(mine, x, y, strict=True):
            axes.annotate(one["effort"], (left, top), textcoords="offset points", xytext=(6, 6))
    axes.set_xlabel("mean tokens of a completion")
    axes.set_ylabel("accuracy, %")
    axes.legend()
    axes.grid(alpha=0.3)


def _tokens_difficulty(report: Mapping[str, Any], axes: Any) -> None:
    shown = [one for one in report["policies"] if one["bands"]]
    for one in shown:
        axes.plot(
            list(one["bands"]),
            [band["tokens"]["value"] for band in one["bands"].values()],
            "o-",
            label=f"{one['model']}, {one['effort']}",
        )
    axes.set_ylabel("mean tokens of a completion")
    axes.set_title("" if shown else "the problems' difficulty is not known")
    if shown:
        axes.legend()
    axes.grid(alpha=0.3)


def _efforts_difficulty(report: Mapping[str, Any], axes: Any) -> None:
    model, shares = list(report["shares"].items())[-1]
    levels = [level.removesuffix(".0") for level in shares]
    base = [0.0] * len(levels)
    for effort in next(iter(shares.values())):
        heights = [100 * share[effort] for share in shares.values()]
        axes.bar(levels, heights, bottom=base, label=effort)
        base = [low + high for low, high in zip(base, heights, strict=True)]
    axes.set_xlabel("difficulty")
    axes.set_ylabel("share of problems, %")
    axes.set_title(f"{model}, auto: the effort whose tokens are nearest to its own")
    axes.legend()
