"""The ladder drawn for the page: quality at each budget, floors, and where lines cross."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from tokfrag.compare.budget import rung_places
from tokfrag.compare.outcome import Outcome
from tokfrag.compare.row import Row
from tokfrag.compare.views.plot import GREY, colours

_WIDTH, _HEIGHT = 560, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 140, 12, 50
_LETTER = 16


@dataclass(frozen=True)
class _Line:
    """One cut's quality at each rung, in the metric's unit, with half of its interval."""

    row: Row
    heights: tuple[float, ...]
    halves: tuple[float, ...]
    begun: tuple[bool, ...]


def ladder_svg(outcome: Outcome) -> str:
    """The drawing as text; empty where no training finished."""
    lines = _lines(outcome)
    if not lines:
        return ""
    shades = colours(outcome)
    ticks = ticks_of(*_range(lines, outcome))
    place = _places(rung_places(outcome.budgets), ticks)
    parts = [_axes(outcome, ticks, place)]
    for line in lines:
        for floor in line.row.floors[:1]:
            height = floor.score * outcome.metric.scale
            if ticks[0] <= height <= ticks[-1]:
                (left, y), (right, _) = place(0, height), place(len(outcome.budgets) - 1, height)
                parts.append(
                    f'<line x1="{left - 8}" x2="{right + 8}" y1="{y}" y2="{y}" class="floor" '
                    f'stroke="{shades[line.row.name]}"><title>{escape(line.row.name)}: '
                    f"{escape(floor.name)}, {outcome.metric.text(floor.score)}</title></line>"
                )
    parts += [_line(line, shades[line.row.name], outcome, place) for line in lines]
    parts += [
        f'<circle cx="{x}" cy="{y}" r="8" class="cross"><title>{escape(a)} and {escape(b)} change '
        "places</title></circle>"
        for a, b, x, y in _crossings(lines, place)
    ]
    parts += _ends(lines, shades, place)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" class="ladder" role="img" '
        f'aria-label="Quality at each budget">{"".join(parts)}</svg>'
    )


def _lines(outcome: Outcome) -> list[_Line]:
    found = []
    scale = outcome.metric.scale
    for row in outcome.cuts:
        if not row.finished:
            continue
        rungs = range(len(row.finished[0].rungs))
        told = [q for rung in rungs if (q := row.quality_at(rung)) is not None]
        found.append(
            _Line(
                row,
                tuple(q.mean * scale for q in told),
                tuple((q.half or 0.0) * scale for q in told),
                tuple(row.begun(rung) for rung in rungs),
            )
        )
    return found


def _range(lines: Sequence[_Line], outcome: Outcome) -> tuple[float, float]:
    """What the drawing must hold: every height, and intervals as far as they are no wider."""
    heights = [height for line in lines for height in line.heights]
    low, high = min(heights), max(heights)
    room = (high - low) or abs(high) or 1.0
    for line in lines:
        for height, half in zip(line.heights, line.halves, strict=True):
            low = min(low, max(height - half, min(heights) - room * 0.15))
            high = max(high, min(height + half, max(heights) + room * 0.15))
    if outcome.metric.unit == "%":
        return max(low, 0.0), min(high, 100.0)
    return low, high


def ticks_of(low: float, high: float) -> list[float]:
    """Round numbers, four to seven of them, the first at or below ``low``, the last above.

    Examples
    --------
    >>> ticks_of(1.9, 4.4)
    [1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5]
    """
    room = high - low
    if room <= 1e-9 * max(abs(low), abs(high), 1e-3):
        room = abs(high) if abs(high) > 1e-9 else 1.0
    power = 10 ** math.floor(math.log10(room / 4))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if room / (s * power) <= 5.5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


_Place = Callable[[float, float], tuple[float, float]]


def _places(rungs: Sequence[float], ticks: Sequence[float]) -> _Place:
    inner_width, inner_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(rung: float, height: float) -> tuple[float, float]:
        before = min(int(rung), len(rungs) - 1)
        after = min(before + 1, len(rungs) - 1)
        share = rungs[before] + (rung - before) * (rungs[after] - rungs[before])
        up = (height - ticks[0]) / (ticks[-1] - ticks[0])
        x = _LEFT + 14 + share * (inner_width - 28)
        return round(x, 1), round(_TOP + (1 - min(1.0, max(0.0, up))) * inner_height, 1)

    return place


def _axes(outcome: Outcome, ticks: Sequence[float], place: _Place) -> str:
    parts = []
    for tick in ticks:
        _, y = place(0, tick)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}" class="grid"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{tick:g}</text>'
        )
    last = len(outcome.budgets) - 1
    for rung, budget in enumerate(outcome.budgets):
        x, _ = place(rung, ticks[0])
        number, _, unit = budget.partition(" ")
        text = budget if rung == last else number
        parts.append(
            f'<text x="{x}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">'
            f"{escape(text)}<title>{escape(number)} {escape(unit)}</title></text>"
        )
    parts.append(
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 8}" text-anchor="middle" '
        'class="quiet">what one training may spend (log scale)</text>'
    )
    return "".join(parts)


def _line(line: _Line, shade: str, outcome: Outcome, place: _Place) -> str:
    points = [place(rung, height) for rung, height in enumerate(line.heights)]
    path = " ".join(f"{x},{y}" for x, y in points)
    parts = [f'<polyline points="{path}" fill="none" stroke="{shade}" stroke-width="2.2"/>']
    for rung, ((x, y), height, half) in enumerate(
        zip(points, line.heights, line.halves, strict=True)
    ):
        untrained = not line.begun[rung]
        low, high = place(rung, height - half)[1], place(rung, height + half)[1]
        scale = outcome.metric.scale
        told = outcome.metric.text(height / scale, half / scale if half else None)
        after = ", no better than its own floor" if untrained else ""
        parts.append(
            f'<line x1="{x}" x2="{x}" y1="{low}" y2="{high}" stroke="{shade}"/>'
            f'<circle cx="{x}" cy="{y}" r="4.5" stroke="{GREY if untrained else shade}" '
            f'class="{"hollow" if untrained else "full"}" fill="{shade}">'
            f"<title>{escape(line.row.name)} at {escape(outcome.budgets[rung])}: "
            f"{escape(told + after)}</title></circle>"
        )
    return "".join(parts)


def _crossings(lines: Sequence[_Line], place: _Place) -> list[tuple[str, str, float, float]]:
    """Where two lines that count at both rungs change places, in the drawing's units."""
    found = []
    counted = [line for line in lines if line.row.ranked]
    for i, one in enumerate(counted):
        for other in counted[i + 1 :]:
            for rung in range(min(len(one.heights), len(other.heights)) - 1):
                before = one.heights[rung] - other.heights[rung]
                after = one.heights[rung + 1] - other.heights[rung + 1]
                known = one.begun[rung] and other.begun[rung]
                if not known or before * after >= 0:
                    continue
                share = before / (before - after)
                height = one.heights[rung] + share * (one.heights[rung + 1] - one.heights[rung])
                found.append((one.row.name, other.row.name, *place(rung + share, height)))
    return found


def _ends(lines: Sequence[_Line], shades: dict[str, str], place: _Place) -> list[str]:
    """Each line's name at its end, pushed apart where they would cover each other."""
    ends = [(place(len(line.heights) - 1, line.heights[-1]), line.row.name) for line in lines]
    wanted = sorted(ends, key=lambda end: end[0][1])
    lowest = _HEIGHT - _BOTTOM - 2
    heights: list[float] = []
    for (_, y), _name in wanted:
        heights.append(max(y, heights[-1] + _LETTER + 1) if heights else y)
    # What was pushed past the bottom pushes those above it back up.
    for i in range(len(heights) - 1, -1, -1):
        limit = lowest if i == len(heights) - 1 else heights[i + 1] - _LETTER - 1
        heights[i] = min(heights[i], limit)
    return [
        f'<text x="{x + 10}" y="{height + 4:.1f}" style="fill:{shades[name]}" class="end">'
        f"{escape(_short(name))}<title>{escape(name)}</title></text>"
        for ((x, _), name), height in zip(wanted, heights, strict=True)
    ]


def _short(name: str) -> str:
    return name if len(name) <= 14 else name[:13] + "\u2026"
