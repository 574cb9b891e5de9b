"""Plots one bar for each system as SVG, from zero, with its value beside it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

WIDTH, ROW, BAR = 860, 30, 20
LEFT, RIGHT, TOP = 170, 90, 40
OURS, THEIRS = "#4477AA", "#BBBBBB"
OUR_SYSTEMS = frozenset({"single", "multi", "coplane"})


def bar_chart(title: str, values: Mapping[str, float]) -> str:
    """Return a chart of the values, in the order given; ours are coloured."""
    highest = max(values.values(), default=0.0) or 1.0
    height = TOP + ROW * len(values) + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="15">{escape(title)}</text>',
    ]
    for number, (name, value) in enumerate(values.items()):
        y = TOP + ROW * number
        length = (WIDTH - LEFT - RIGHT) * value / highest
        colour = OURS if name in OUR_SYSTEMS or name.startswith("ctl ") else THEIRS
        lines += [
            f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<text x="{LEFT + length + 6:.1f}" y="{y + 15}">{value:.4g}</text>',
        ]
    return "\n".join([*lines, "</svg>\n"])
