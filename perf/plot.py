"""Plots lines over time as SVG: axes, a few ticks, a legend, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

Series = Mapping[str, Sequence[tuple[float, float]]]

WIDTH, HEIGHT = 860, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 40, 40
TICKS = 5
# Paul Tol's bright scheme: lines that stay apart for the colour-blind too.
COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#BBBBBB")


def line_chart(title: str, unit: str, series: Series) -> str:
    """Return a chart of the series; each is (minute, value) pairs, and the vertical axis begins at 0."""
    points = [point for line in series.values() for point in line]
    longest, highest = (
        max((x for x, _ in points), default=0) or 1,
        max((y for _, y in points), default=0) or 1,
    )
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> str:
        return f"{LEFT + width * x / longest:.1f},{TOP + height * (1 - y / highest):.1f}"

    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>',
            *_grid(longest, highest, unit),
            *(
                f'<polyline fill="none" stroke="{_colour(number)}" stroke-width="1.5" points="'
                f'{" ".join(place(x, y) for x, y in line)}"/>'
                for number, line in enumerate(series.values())
            ),
            *_legend(series),
            "</svg>\n",
        ]
    )


def _grid(longest: float, highest: float, unit: str) -> list[str]:
    right, bottom, told = WIDTH - RIGHT, HEIGHT - BOTTOM, []
    for tick in range(TICKS + 1):
        share = tick / TICKS
        x, y = LEFT + (right - LEFT) * share, bottom - (bottom - TOP) * share
        told += [
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#dddddd"/>',
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{highest * share:.4g}</text>',
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{longest * share:.3g}</text>',
        ]
    return [
        *told,
        f'<text x="{LEFT - 6}" y="{TOP - 8}" text-anchor="end">{escape(unit)}</text>',
        f'<text x="{right}" y="{bottom + 34}" text-anchor="end">minutes</text>',
    ]


def _legend(series: Series) -> list[str]:
    x = WIDTH - RIGHT + 14
    return [
        f'<text x="{x}" y="{TOP + 8 + 16 * number}" fill="{_colour(number)}">{escape(name)}</text>'
        for number, name in enumerate(series)
    ]


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
