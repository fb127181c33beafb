"""The savings report as one self-contained HTML page."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from server.savings.text_report import text_report


def html_report(report: Mapping[str, Any]) -> str:
    """The page; it loads nothing from elsewhere.

    Args:
        report: see `server.savings.report.report`.
    """
    loader = PackageLoader("server.savings")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    template = environment.get_template("report.html.jinja")
    return template.render(created=report["created"], table=text_report(report))
