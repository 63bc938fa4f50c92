"""The measures over time as a picture (SVG), with what was found wrong marked: what a person looks at first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from watcher.model.findings import Findings
from watcher.steps._detectors import Stretch

WIDTH, ROW, LEFT, TOP = 1000, 70, 130, 30
MOST_POINTS = 1000
"""Points of a curve: more are not seen."""


def chart(findings: Findings, found: Mapping[str, Sequence[Stretch]]) -> str:
    """A row for each measure, and one for each kind of thing that was found."""
    length = max(findings.duration, 0.001)
    rows: list[tuple[str, list[tuple[float, float]], tuple[float, float]]] = []
    if findings.looks:
        looks = findings.looks
        rows += [
            ("luma", [(look.time, look.luma) for look in looks], (0, 255)),
            ("blur", [(look.time, look.blur) for look in looks], (0, 20)),
            ("change", [(look.time, look.change) for look in looks], (0, 30)),
        ]
    if findings.loudness:
        rows.append(("loudness, LUFS", [(heard.time, heard.momentary) for heard in findings.loudness], (-70, 0)))
    marks = [(kind, stretches) for kind, stretches in found.items() if stretches]
    height = TOP + ROW * len(rows) + 22 * len(marks) + 30
    body = [_curve(index, *row, length) for index, row in enumerate(rows)]
    top = TOP + ROW * len(rows)
    for index, (kind, stretches) in enumerate(marks):
        y = top + 22 * index
        body.append(f'<text x="10" y="{y + 14}">{escape(kind)}</text>')
        for stretch in stretches:
            x, wide = _x(stretch.start, length), max(2.0, _x(stretch.end, length) - _x(stretch.start, length))
            title = f"{stretch.start:.2f} to {stretch.end:.2f} s, {stretch.confidence} %"
            place = f'x="{x:.1f}" y="{y + 3}" width="{wide:.1f}" height="15"'
            body.append(f'<rect {place} fill="#c0392b"><title>{title}</title></rect>')
    times = [length * part / 4 for part in range(5)]
    below = f'y="{height - 8}" text-anchor="middle"'
    ticks = "".join(f'<text x="{_x(time, length):.0f}" {below}>{time:.1f} s</text>' for time in times)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 30}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(body)}{ticks}</svg>\n'
    )


def _x(time: float, length: float) -> float:
    return LEFT + (WIDTH - LEFT) * min(1.0, max(0.0, time / length))


def _curve(index: int, name: str, values: list[tuple[float, float]], span: tuple[float, float], length: float) -> str:
    top = TOP + ROW * index
    low, high = span
    every = max(1, len(values) // MOST_POINTS)

    def y(value: float) -> float:
        return top + (ROW - 15) * (1 - min(1.0, max(0.0, (value - low) / (high - low))))

    points = " ".join(f"{_x(time, length):.1f},{y(value):.1f}" for time, value in values[::every])
    return (
        f'<text x="10" y="{top + ROW / 2:.0f}">{escape(name)}</text>'
        f'<rect x="{LEFT}" y="{top}" width="{WIDTH - LEFT}" height="{ROW - 15}" fill="#f4f6f8"/>'
        f'<polyline points="{points}" fill="none" stroke="#2c6fbb"/>'
    )
