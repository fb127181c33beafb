"""The savings report as one self-contained page."""

from collections.abc import Mapping
from html import escape
from typing import Any

from server.savings.table import table

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Savings</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
pre {{ overflow-x: auto; font: 14px/1.5 ui-monospace, monospace; }}
</style>
<h1>Savings</h1>
<p>Measured against a randomised holdout; {created}. Brackets are 95 % intervals.</p>
<pre>{table}</pre>
</html>"""


def page(report: Mapping[str, Any]) -> str:
    """HTML without anything external."""
    return _PAGE.format(created=escape(report["created"]), table=escape(table(report)))
