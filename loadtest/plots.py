"""Lines as SVG: what a page draws, without knowing what it means."""

from collections.abc import Callable, Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _FOOT = 640, 260, 52, 160, 8, 36
_COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2", "#65a30d", "#db2777")

Points = Sequence[tuple[float, float]]


def plot(
    title: str,
    lines: Mapping[str, Points],
    ticks: Sequence[float] | None = None,
    told: Callable[[float], str] = "{:.3g}".format,
) -> str:
    """A plot of named lines from (0, 0) up, with a heading; empty where there is nothing to draw.

    `ticks` are the marks of the y axis, the last at its top, and `told` writes them.
    """
    points = [point for line in lines.values() for point in line]
    most_x = max((x for x, _ in points), default=0)
    most_y = ticks[-1] if ticks else max((y for _, y in points), default=0)
    if not (most_x and most_y):
        return ""
    parts = [_axes(most_x, most_y, ticks or (0, most_y / 2, most_y), told)]
    for place, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        at = " ".join(f"{_x(x, most_x):.1f},{_y(y, most_y):.1f}" for x, y in line)
        parts.append(f'<polyline points="{at}" fill="none" stroke="{colour}"/>')
        y = 16 + 15 * place
        box = f'x="{_WIDTH - 150}" y="{y - 9}" width="10" height="10"'
        parts.append(f'<rect {box} fill="{colour}"/>')
        parts.append(f'<text x="{_WIDTH - 134}" y="{y}">{escape(name)}</text>')
    return (
        f"<h2>{escape(title)}</h2>\n"
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _axes(
    most_x: float, most_y: float, ticks: Sequence[float], told: Callable[[float], str]
) -> str:
    parts: list[str] = []
    for tick in ticks:
        y = _y(tick, most_y)
        ends = f'x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"'
        parts.append(f'<line {ends} stroke="currentColor" opacity="0.2"/>')
        at = f'x="{_LEFT - 6}" y="{y + 4:.1f}"'
        parts.append(f'<text {at} text-anchor="end">{told(tick)}</text>')
    parts += [
        f'<text x="{_x(most_x * share, most_x):.1f}" y="{_HEIGHT - 14}" text-anchor="middle">'
        f"{most_x * share:.3g}</text>"
        for share in (0, 0.5, 1)
    ]
    return "".join(parts)


def _x(value: float, most: float) -> float:
    return _LEFT + value / most * (_WIDTH - _RIGHT - _LEFT)


def _y(value: float, most: float) -> float:
    return _TOP + (1 - value / most) * (_HEIGHT - _FOOT - _TOP)
