"""One sample of the judging part as each cut sees it, to be drawn on the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tokfrag.compare.contracts import FittedCut, Samples

_TEXT = 64
_PLACES = 4096


@dataclass(frozen=True)
class SamplePicture:
    """How one cut cuts one sample.

    ``pieces`` of a text are its bytes piece by piece, as text that can be shown. Of an array:
    ``values`` is the first channel (of a volume, its middle slice), ``boxes`` the pieces on it as
    (begin, end) an axis.
    """

    count: int
    pieces: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    boxes: tuple[tuple[tuple[int, int], ...], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The picture as JSON takes it."""
        return {
            "count": self.count,
            "pieces": list(self.pieces),
            "values": list(self.values),
            "boxes": [[list(span) for span in box] for box in self.boxes],
        }


def drawn_sample(fitted: FittedCut, judge: Samples) -> SamplePicture | None:
    """The first sample as a cut sees it; None where it cannot be drawn."""
    if isinstance(judge.x, np.ndarray):
        return _array(fitted, judge)
    return _text(fitted, judge)


def _text(fitted: FittedCut, judge: Samples) -> SamplePicture | None:
    if fitted.decode is None:
        return None
    # The first text long enough to show something, cut short within no character.
    text = next((t for t in judge.x if len(t) >= _TEXT), judge.x[0])[:_TEXT]
    text = text.decode("utf-8", "ignore").encode()
    made = fitted.cut([text])
    row = made.values[0, : made.lengths[0]]
    shown, before = [], b""
    for end in range(1, len(row) + 1):
        try:
            so_far = fitted.decode(row[:end])
        except (ValueError, KeyError, IndexError, TypeError, UnicodeError):
            return None
        shown.append(so_far[len(before) :].decode("utf-8", "replace"))
        before = so_far
    return SamplePicture(len(row), pieces=tuple(shown))


def _array(fitted: FittedCut, judge: Samples) -> SamplePicture | None:
    x = np.asarray(judge.x[0], np.float32)[0]
    count = fitted.spec.n
    boxes = fitted.boxes or ()
    if fitted.boxes_of is not None:
        boxes = fitted.boxes_of(np.asarray(judge.x[0]))
    # Of more than two axes the middle slices are drawn, with the pieces that touch them.
    while x.ndim > 2:
        middle = x.shape[0] // 2
        boxes = tuple(box[1:] for box in boxes if box[0][0] <= middle < box[0][1])
        x = x[middle]
    if x.size > _PLACES * 16:
        return None
    return SamplePicture(
        count,
        values=tuple(np.round(x, 4).tolist()),
        boxes=tuple(dict.fromkeys(tuple((int(a), int(b)) for a, b in box) for box in boxes)),
    )
