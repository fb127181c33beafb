"""The report of a run as one self-contained HTML page, with its plots embedded as PNG."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.training.plots import draw_plots
from models.training.rendering import render


def html_report(report: Mapping[str, Any], folder: Path) -> str:
    """HTML without external resources; the plots are also written to `folder` as NAME.png."""
    images: list[dict[str, str]] = []
    for name, image in draw_plots(report).items():
        (folder / f"{name}.png").write_bytes(image)
        images.append({"alt": name.replace("_", " by "), "data": base64.b64encode(image).decode()})
    bands = list(report["policies"][0]["bands"])
    return render("report.html.jinja", report=report, bands=bands, images=images)
