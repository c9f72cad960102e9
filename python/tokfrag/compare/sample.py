"""One sample of the judging part as each cut sees it, to be drawn on the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tokfrag.compare.contracts import FittedCut, Samples

_TEXT = 64
_PLACES = 4096
_COLOURS = 3


@dataclass(frozen=True)
class SamplePicture:
    """How one cut cuts one sample.

    ``pieces`` of a text are its bytes piece by piece, as text that can be shown; ``marks`` is the
    same text in parts, each with what is to be found there or an empty name. Of an array:
    ``values`` is the first channel, or three as colours (of a volume, its middle slice), ``boxes``
    the pieces on it as (begin, end) an axis.
    """

    count: int
    pieces: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    boxes: tuple[tuple[tuple[int, int], ...], ...] = ()
    marks: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The picture as JSON takes it."""
        return {
            "count": self.count,
            "pieces": list(self.pieces),
            "values": list(self.values),
            "boxes": [[list(span) for span in box] for box in self.boxes],
            "marks": [list(mark) for mark in self.marks],
        }


@runtime_checkable
class MarksText(Protocol):
    """A problem that something is to be found for in a text, such as names of people."""

    def marks(self, samples: Samples, index: int) -> tuple[tuple[int, int, str], ...]:
        """First and last byte and the name of what is to be found in a text, in their order."""


def drawn_sample(fitted: FittedCut, judge: Samples, problem: object = None) -> SamplePicture | None:
    """The first sample as a cut sees it; None where it cannot be drawn."""
    if isinstance(judge.x, np.ndarray):
        return _array(fitted, judge)
    return _text(fitted, judge, problem)


def _text(fitted: FittedCut, judge: Samples, problem: object) -> SamplePicture | None:
    if fitted.decode is None:
        return None
    # The first text long enough to show something, cut short within no character.
    index = next((i for i, t in enumerate(judge.x) if len(t) >= _TEXT), 0)
    text = judge.x[index][:_TEXT].decode("utf-8", "ignore").encode()
    marks = problem.marks(judge, index) if isinstance(problem, MarksText) else ()
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
    return SamplePicture(len(row), pieces=tuple(shown), marks=_marked(text, marks))


def _marked(text: bytes, marks: tuple[tuple[int, int, str], ...]) -> tuple[tuple[str, str], ...]:
    """The text in parts, those to be found with their names."""
    found, done = [], 0
    for begin, end, name in marks:
        if end > len(text):
            break
        found += [(text[done:begin].decode(), ""), (text[begin:end].decode(), name)]
        done = end
    found.append((text[done:].decode(), ""))
    return tuple(part for part in found if part[0]) if marks else ()


def _array(fitted: FittedCut, judge: Samples) -> SamplePicture | None:
    x = np.asarray(judge.x[0], np.float32)
    # Three channels over two axes are colours; of all others the first is drawn.
    coloured = x.ndim == 3 and len(x) == _COLOURS
    x = np.moveaxis(x, 0, -1) if coloured else x[0]
    count = fitted.spec.n
    boxes = fitted.boxes or ()
    if fitted.boxes_of is not None:
        boxes = fitted.boxes_of(np.asarray(judge.x[0]))
    # Of more than two axes the middle slices are drawn, with the pieces that touch them.
    while x.ndim > 2 + coloured:
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
