"""One sample as each cut sees it, drawn for the page: coloured text, pieces over picture or curve.

Everything is HTML and SVG with titles that show on hovering; nothing needs a script.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.outcome import Outcome
from tokfrag.compare.sample import SamplePicture
from tokfrag.compare.views.pixels import data_uri, png_of
from tokfrag.compare.views.plot import COLOURS, PASTELS, shown_text

Box = tuple[tuple[int, int], ...]

# Pieces are numbered in their order where there are few enough to be read.
_NUMBERED = 40
# Letters of less than a unit are drawn badly, so they are drawn large and scaled down.
_ZOOM = 50
_CURVE = (320, 110)
_LANE = 7


def samples_html(outcome: Outcome) -> list[str]:
    """The sample in every cut, one block a cut; empty where none can be drawn."""
    if not outcome.samples:
        return []
    first = next(iter(outcome.samples.values()))
    texts = {name: p for name, p in outcome.samples.items() if p.pieces}
    if texts:
        return [*_entities(first), *(_strip(name, p) for name, p in texts.items())]
    values = np.array(first.values, np.float32)
    blocks, defined = [], ""
    if values.ndim > 1:
        height, width = values.shape[:2]
        # The picture stands in the page once; every cut draws its pieces over it.
        defined = (
            '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
            f'<image id="sample" href="{data_uri(png_of(values))}" width="{width}" '
            f'height="{height}" style="image-rendering:pixelated"/></defs></svg>'
        )
        blocks = [_patches(name, p, (height, width)) for name, p in outcome.samples.items()]
    else:
        blocks = [_windows(name, p, values) for name, p in outcome.samples.items()]
    kind = "pictures" if values.ndim > 1 else "curves"
    return [f'{defined}<div class="{kind}">', *blocks, "</div>"]


def _strip(name: str, picture: SamplePicture) -> str:
    pieces = "".join(
        f'<span style="background:{PASTELS[i % len(PASTELS)]}" title="piece {i + 1}">'
        f"{escape(shown_text(piece))}</span>"
        for i, piece in enumerate(picture.pieces)
    )
    size = len("".join(picture.pieces).encode())
    each = f", {size / picture.count:.1f} bytes each" if picture.count else ""
    return (
        f'<div class="cut"><div class="name"><b>{escape(name)}</b> '
        f"{_pieces(picture.count)}{each}</div>"
        f'<div class="strip">{pieces}</div></div>'
    )


def _entities(picture: SamplePicture) -> list[str]:
    """The text with what is to be found in it, where the task marks something."""
    if not any(kind for _, kind in picture.marks):
        return []
    kinds = list(dict.fromkeys(kind for _, kind in picture.marks if kind))
    parts = [
        f'<mark style="border-color:{COLOURS[kinds.index(kind) % len(COLOURS)]}">'
        f"{escape(text)}<small>{escape(kind)}</small></mark>"
        if kind
        else f"<i>{escape(text)}</i>"
        for text, kind in picture.marks
    ]
    return [
        '<div class="cut"><div class="name"><b>to be found</b></div>'
        f'<div class="strip plain">{"".join(parts)}</div></div>'
    ]


def _patches(name: str, picture: SamplePicture, size: tuple[int, int]) -> str:
    height, width = size
    overlap = _overlap(picture.boxes)
    numbered = len(picture.boxes) <= _NUMBERED and not overlap
    shapes = [] if picture.boxes else [_grid(size)]
    # Where pieces overlap, two neighbours stand out from the others.
    bold = _neighbours(picture.boxes) if overlap else ()
    order = [*(i for i in range(len(picture.boxes)) if i not in bold), *bold]
    for i in order:
        (top, bottom), (left, right) = picture.boxes[i]
        shade = COLOURS[i % 6] if not overlap else COLOURS[bold.index(i)] if i in bold else "#fff"
        fill = ".13" if not overlap else ".3" if i in bold else ".06"
        kind = ' class="bold"' if i in bold else ""
        shapes.append(
            f'<rect x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" '
            f'fill="{shade}" fill-opacity="{fill}" stroke="{shade}"{kind}>'
            f"<title>piece {i + 1}: rows {top} to {bottom}, columns {left} to {right}</title>"
            "</rect>"
        )
        if numbered:
            letter = min(right - left, bottom - top, max(size) / 4) * 0.3 * _ZOOM
            shapes.append(
                f'<text transform="scale({1 / _ZOOM})" x="{left * _ZOOM + letter * 0.25:.1f}" '
                f'y="{top * _ZOOM + letter * 1.05:.1f}" style="font-size:{letter:.1f}px">'
                f"{i + 1}</text>"
            )
    told = "" if picture.boxes else ", each value one"
    return (
        f'<figure class="cut"><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(name)}"><use href="#sample"/>{"".join(shapes)}</svg>'
        f"<figcaption><b>{escape(name)}</b><br>{_pieces(picture.count)}{told}"
        f"{_slice(picture)}</figcaption></figure>"
    )


def _grid(size: tuple[int, int]) -> str:
    """Lines between all values, where they are few enough to be seen."""
    height, width = size
    if max(size) > _NUMBERED:
        return ""
    path = "".join(f"M{x} 0V{height}" for x in range(1, width))
    path += "".join(f"M0 {y}H{width}" for y in range(1, height))
    return f'<path d="{path}" class="values"/>'


def _neighbours(boxes: Sequence[Box]) -> tuple[int, ...]:
    """The first piece and the next one that overlaps it."""
    for i, box in enumerate(boxes[1:], 1):
        if all(begin < boxes[0][axis][1] for axis, (begin, _) in enumerate(box)):
            return 0, i
    return (0,)


def _windows(name: str, picture: SamplePicture, values: NDArray[np.float32]) -> str:
    width, height = _CURVE
    low, high = float(values.min()), float(values.max())
    span, count = (high - low) or 1.0, max(1, len(values) - 1)
    line = " ".join(
        f"{i / count * width:.1f},{4 + (high - float(v)) / span * (height - 8):.1f}"
        for i, v in enumerate(values)
    )
    lanes = lanes_of([box[0] for box in picture.boxes])
    deepest = max(lanes, default=-1) + 1
    shapes = []
    for i, (((begin, end),), lane) in enumerate(zip(picture.boxes, lanes, strict=True)):
        left, right = begin / (count + 1) * width, end / (count + 1) * width
        shade = COLOURS[i % 6]
        title = f"<title>piece {i + 1}: values {begin} to {end}</title>"
        shapes.append(
            f'<rect x="{left:.1f}" y="{height + 3 + lane * _LANE}" '
            f'width="{max(0.5, right - left - 0.8):.1f}" height="{_LANE - 2}" rx="1.5" '
            f'fill="{shade}">{title}</rect>'
        )
        if deepest == 1:
            shapes.append(
                f'<rect x="{left:.1f}" y="0" width="{right - left:.1f}" height="{height}" '
                f'fill="{shade}" fill-opacity=".10">{title}</rect>'
            )
    return (
        f'<figure class="cut"><svg viewBox="0 0 {width} {height + 4 + deepest * _LANE}" '
        f'role="img" aria-label="{escape(name)}">{"".join(shapes)}'
        f'<polyline points="{line}" class="curve"/></svg>'
        f"<figcaption><b>{escape(name)}</b> {_pieces(picture.count)}</figcaption></figure>"
    )


def lanes_of(spans: Sequence[tuple[int, int]]) -> list[int]:
    """The line on which each span lies, so that none covers another; as few lines as do.

    Examples
    --------
    >>> lanes_of([(0, 4), (2, 6), (4, 8), (6, 10)])
    [0, 1, 0, 1]
    """
    free: list[int] = []
    found = []
    for begin, end in spans:
        lane = next((i for i, until in enumerate(free) if until <= begin), len(free))
        if lane == len(free):
            free.append(end)
        free[lane] = end
        found.append(lane)
    return found


def _overlap(boxes: Iterable[Box]) -> bool:
    """Whether any place lies in two boxes of a picture."""
    held: set[tuple[int, int]] = set()
    for (top, bottom), (left, right) in boxes:
        places = {(y, x) for y in range(top, bottom) for x in range(left, right)}
        if held & places:
            return True
        held |= places
    return False


def _pieces(count: int) -> str:
    return "1 piece" if count == 1 else f"{count} pieces"


def _slice(picture: SamplePicture) -> str:
    through = len(picture.boxes)
    if not through or through >= picture.count:
        return ""
    return f", {through} of them in this slice"
