"""The pictures of an outcome: the ladder, the differences to the best, a sample as it is cut."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

from tokfrag.compare.budget import rung_places
from tokfrag.compare.extras import require
from tokfrag.compare.outcome import Outcome
from tokfrag.compare.row import Row
from tokfrag.compare.sample import SamplePicture

FORMATS = ("png", "svg", "pdf")
#: One colour a row, told apart by people who see red and green alike (after Okabe and Ito, 2008).
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#6a3d9a",
    "#8a6d3b",
)
GREY = "#9a9a9a"


def check_format(path: str | os.PathLike[str]) -> str:
    """The format that a path's suffix names."""
    suffix = Path(path).suffix.lstrip(".").lower()
    if suffix not in FORMATS:
        raise ValueError(f"plot: got {os.fspath(path)!r}; it takes .{', .'.join(FORMATS)}")
    return suffix


# Characters of a name that there is room for at the end of a line, and beside an interval.
_AT_LINE, _AT_INTERVAL = 15, 22


def colours(outcome: Outcome) -> dict[str, str]:
    """A colour for each cut; grey for those that may not be best."""
    return {
        row.name: COLOURS[i % len(COLOURS)] if row.ranked else GREY
        for i, row in enumerate(outcome.cuts)
    }


def render(outcome: Outcome, suffix: str, *, title: bool = True) -> bytes:
    """The ladder and the differences side by side, as the bytes of a file of the given format."""
    require("matplotlib", purpose="the plot")
    # The object interface: no global state, no display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    draw_ladder(left, outcome)
    draw_differences(right, outcome)
    if title:
        figure.suptitle(outcome.headline, fontsize=10, fontweight="bold")
    return saved(figure, suffix)


def short(text: str, width: int) -> str:
    """A text that fits, its end left out where it does not."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "\u2026"


def saved(figure: Any, suffix: str, *, dpi: int = 150) -> bytes:
    """A figure as the bytes of a file."""
    buffer = BytesIO()
    figure.savefig(buffer, format=suffix, dpi=dpi)
    return buffer.getvalue()


def draw_ladder(axes: Any, outcome: Outcome) -> None:
    """Quality at each rung, one line a cut; floors dotted, what is untrained grey and hollow."""
    metric = outcome.metric
    shades = colours(outcome)
    places = rung_places(outcome.budgets)
    ends: list[tuple[float, str, str]] = []
    for row in outcome.cuts:
        if not row.finished:
            continue
        found = [row.quality_at(rung) for rung in range(len(row.finished[0].rungs))]
        heights = [f.mean * metric.scale for f in found if f is not None]
        halves = [(f.half or 0.0) * metric.scale for f in found if f is not None]
        shade = shades[row.name]
        axes.errorbar(places[: len(heights)], heights, yerr=halves, color=shade, capsize=2, lw=1.6)
        for rung, height in enumerate(heights):
            untrained = not row.begun(rung)
            axes.plot(
                places[rung],
                height,
                "o",
                color=GREY if untrained else shade,
                markerfacecolor="white" if untrained else shade,
                markersize=5,
            )
        ends.append((heights[-1], row.name, shade))
        if row.floors:
            axes.axhline(row.floors[0].score * metric.scale, color=shade, ls=":", lw=0.8, alpha=0.7)
    if metric.unit == "%":
        # An interval may reach beyond what there is.
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -2), min(high, 108))
    _name_the_ends(axes, ends, places[-1])
    axes.set_xticks(places, outcome.budgets, fontsize=8)
    # The names at the ends of the lines need a quarter of the width.
    axes.set_xlim(places[0] - 0.08, places[-1] + 0.28)
    direction = "higher is better" if metric.higher_is_better else "lower is better"
    unit = f" in {metric.unit}" if metric.unit else ""
    axes.set_ylabel(f"{metric.name}{unit} ({direction})", fontsize=8)
    axes.set_title(
        "Quality against what a training may spend (dotted: a row's own floor)", fontsize=9
    )
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _name_the_ends(axes: Any, ends: list[tuple[float, str, str]], place: float) -> None:
    """Each line's name at its end, pushed apart where they would cover each other."""
    if not ends:
        return
    low, high = axes.get_ylim()
    step = (high - low) * 0.055
    ends.sort()
    heights = [wanted for wanted, _, _ in ends]
    for i in range(1, len(ends)):
        heights[i] = max(heights[i], heights[i - 1] + step)
    # Those that were pushed out at the top push back.
    room = high - step / 2
    for i in reversed(range(len(ends))):
        heights[i] = min(heights[i], room)
        room = heights[i] - step
    for height, (_, name, shade) in zip(heights, ends, strict=True):
        axes.annotate(
            short(name, _AT_LINE),
            (place + 0.03, height),
            color=shade,
            fontsize=8,
            va="center",
            fontweight="bold",
            annotation_clip=False,
        )


def draw_differences(axes: Any, outcome: Outcome) -> None:
    """How far each row is from the one ahead with its interval; hollow where zero lies inside."""
    shades = colours(outcome)
    metric = outcome.metric
    rows = outcome.ranked
    for place, row in enumerate(rows):
        apart = outcome.behind(row)
        mean, half = (0.0, 0.0) if apart is None else (apart.mean, apart.half or 0.0)
        unclear = apart is not None and not apart.excludes_zero
        axes.errorbar(
            mean * metric.scale,
            place,
            xerr=half * metric.scale or None,
            fmt="o",
            color=shades[row.name],
            markerfacecolor="white" if unclear else shades[row.name],
            capsize=3,
        )
    axes.axvline(0, color="#bbbbbb", lw=1, zorder=0)
    labels = [
        f"{short(row.name, _AT_INTERVAL - 6)} (tie)"
        if _tied(outcome, row)
        else short(row.name, _AT_INTERVAL)
        for row in rows
    ]
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    axes.set_ylim(max(1, len(rows)) - 0.5, -0.5)
    if not rows:
        axes.text(0.5, 0.5, "no row counts", transform=axes.transAxes, ha="center", color=GREY)
    title = "Difference"
    if outcome.ahead is not None:
        title += f" to {short(outcome.ahead.name, _AT_INTERVAL - 6)} at {outcome.budgets[-1]}"
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(f"{metric.name}{f' in {metric.unit}' if metric.unit else ''}", fontsize=8)
    # Small differences have long numbers.
    axes.locator_params(axis="x", nbins=4)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _tied(outcome: Outcome, row: Row) -> bool:
    return row is not outcome.best and row in outcome.ties()


#: Pieces beside each other take turns in these.
PASTELS = ("#cfe2f3", "#fde3c8", "#d9f0d3", "#ead7f0")


def shown_text(piece: str) -> str:
    """A piece of text with what cannot be seen made visible."""
    shown = piece.replace("\n", "\u21b5").replace(" ", "\u00b7").replace("\t", "\u2192")
    return "".join(c if c.isprintable() else "\ufffd" for c in shown)


def draw_strip(axes: Any, name: str, picture: SamplePicture, *, places: int = 64) -> None:
    """One text as a cut's coloured pieces, a character a place, and how many there are."""
    place = 0
    for i, piece in enumerate(picture.pieces):
        for character in shown_text(piece):
            if place >= places:
                break
            axes.add_patch(_box(place, 0.0, 1.0, 1.0, PASTELS[i % len(PASTELS)]))
            axes.text(
                place + 0.5, 0.5, _plain(character), ha="center", va="center", fontsize=8.5,
                family="monospace",
            )  # fmt: skip
            place += 1
    axes.text(-0.6, 0.5, name, ha="right", va="center", fontsize=9.5, fontweight="bold")
    axes.text(place + 0.5, 0.5, str(picture.count), ha="left", va="center", fontsize=9)
    axes.set_xlim(0, places + 3)
    axes.set_ylim(-0.15, 1.15)
    axes.set_axis_off()


def _plain(character: str) -> str:
    """A character that the font of the picture has; a box for any other."""
    known = ord(character) < 0x250 or character in "\u21b5\u2192"
    # A dollar sign begins a formula.
    return "\\$" if character == "$" else character if known else "\u25a1"


def draw_array(axes: Any, name: str, picture: SamplePicture, *, longest: int = 60) -> None:
    """A picture with its pieces' borders, or a curve with its windows below."""
    import numpy as np

    values = np.array(picture.values, np.float32)
    if values.ndim > 1:
        low, high = float(values.min()), float(values.max())
        values = (values - low) / ((high - low) or 1.0)
        axes.imshow(values, cmap="gray", interpolation="nearest")
        for i, ((top, bottom), (left, right)) in enumerate(picture.boxes):
            axes.add_patch(
                _box(left - 0.5, top - 0.5, right - left, bottom - top, "none", COLOURS[i % 6])
            )
        axes.set_xticks([])
        axes.set_yticks([])
    else:
        axes.plot(values, color="#333333", lw=0.9)
        low, high = float(values.min()), float(values.max())
        room = (high - low) or 1.0
        for i, ((begin, end),) in enumerate(picture.boxes):
            # Overlapping windows lie on lines of their own.
            line = low - room * (0.1 + 0.07 * (i % 3))
            axes.plot((begin, end - 1), (line, line), color=COLOURS[i % 6], lw=3)
        axes.set_yticks([])
        axes.tick_params(labelsize=7)
    count = f"{picture.count} piece{'s' * (picture.count != 1)}"
    axes.set_title(f"{short(name, longest)}: {count}", fontsize=9)


def _box(x: float, y: float, width: float, height: float, face: str, edge: str = "white") -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, facecolor=face, edgecolor=edge, lw=1)
