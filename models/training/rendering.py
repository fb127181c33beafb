"""Renders the Jinja templates of `templates/`, with filters for figures and their intervals."""

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

Figure = Mapping[str, float]
"""`value` with the ends `low` and `high` of its 95 % interval, see `models.training.intervals`."""


def percent(figure: Figure) -> str:
    """An accuracy with its interval."""
    return f"{figure['value']:.1%} [{figure['low']:.1%}, {figure['high']:.1%}]"


def points(figure: Figure) -> str:
    """A difference of accuracies with its interval, in percentage points."""
    return f"{100 * figure['value']:+.1f} [{100 * figure['low']:+.1f}, {100 * figure['high']:+.1f}]"


def ratio(figure: Figure) -> str:
    """A ratio with its interval, to two decimals."""
    return f"{figure['value']:.2f} [{figure['low']:.2f}, {figure['high']:.2f}]"


def number(figure: Figure) -> str:
    """A mean with its interval, to one decimal."""
    return f"{figure['value']:.1f} [{figure['low']:.1f}, {figure['high']:.1f}]"


def render(name: str, **values: object) -> str:
    """The text of a template; values are escaped in HTML.

    Raises:
        jinja2.UndefinedError: the template uses a value that is missing.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(enabled_extensions=("html.jinja",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(percent=percent, points=points, ratio=ratio, number=number)
    return environment.get_template(name).render(values)
