"""A cut: how samples become pieces. The protocol, and the short names that stand for cuts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.pieces import MERGES, Pieces, PieceSpec
from tokfrag.compare.task import Samples


@dataclass(frozen=True)
class FittedCut:
    """A cut that knows its data: ``cut(x)`` gives the pieces, ``spec`` their shape.

    ``coverage`` is the share of the positions that lie in at least one piece, ``overlap`` how often
    a covered position is seen. What a cut needs besides where answers are whole arrays again:
    ``split(labels, outside)`` cuts an array as it is, ``join(answers)`` merges answers given piece
    by piece, ``whole(x)`` is the input as the network sees it, uncut, and ``borders`` marks the
    positions next to the edge of a piece.
    """

    spec: PieceSpec
    cut: Callable[[Any], Pieces]
    coverage: float = 1.0
    overlap: float = 1.0
    split: Callable[[NDArray[Any], int], NDArray[Any]] | None = None
    join: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    whole: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    borders: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()


@runtime_checkable
class Cut(Protocol):
    """What :func:`compare` asks of a cut. Any object with these members is one."""

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str:
        """``"tokens"`` or ``"fragments"``."""

    def fit(self, train: Samples) -> FittedCut:
        """Learn what the cut needs from the training part: levels, a vocabulary, a grid."""


def check_merge(merge: str) -> str:
    if merge not in MERGES:
        raise ValueError(f"merge: got {merge!r}; it takes one of {', '.join(MERGES)}")
    return merge


_FORM = re.compile(
    r"(?P<name>[a-z]+)(?::(?P<args>[^+@]*))?(?P<flags>(?:\+[a-z]+)*)(?:@(?P<merge>[a-z]+))?"
)


def parse_cut(text: str) -> Cut:
    """Read a cut from its short name: ``name[:numbers][+flags][@merge]``.

    ``pixels:16``, ``values:64``: each number becomes one of that many levels. ``patch:4``,
    ``patch:10/5``, ``patch:2x8x8/1x4x4``: fragments of a size, with a stride after the slash;
    ``+drop``, ``+shift`` or ``+pad`` at the edge, ``+diff`` adds the change along the first axis,
    ``+hann``, ``+gaussian`` or ``+triangular`` weigh fragments where they are merged. ``whole``:
    one fragment. ``bytes``, ``chars``, ``bpe:512``, ``wordpiece:vocab.txt``: text. ``window:8/4``:
    fragments of text, 8 bytes long, 4 new ones each. ``@concat``, ``@mean``, ``@attention``: how
    the network joins the pieces.

    >>> parse_cut("patch:4/2@mean").name
    'patch:4/2@mean'
    """
    from tokfrag.compare.cuts.arrays import Patches, Quantised
    from tokfrag.compare.cuts.texts import Bpe, ByteWindows, Characters, RawBytes, WordPieces

    match = _FORM.fullmatch(text.strip())
    name = match["name"] if match else ""
    args = (match["args"] or "") if match else ""
    flags = match["flags"].split("+")[1:] if match else []
    merge = check_merge(match["merge"]) if match and match["merge"] else None

    def number(default: int | None = None) -> int:
        if not args and default is not None:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", args):
            raise ValueError(f"cut: {text!r} takes one number after the colon, got {args!r}")
        return int(args)

    def geometry() -> tuple[tuple[int, ...], tuple[int, ...] | None]:
        if not re.fullmatch(r"[0-9]+(x[0-9]+)*(/[0-9]+(x[0-9]+)*)?", args):
            raise ValueError(
                f"cut: {text!r} takes SIZE or SIZE/STRIDE, such as 4/2 or 2x8x8/1x4x4, got {args!r}"
            )
        size, _, stride = args.partition("/")
        steps = tuple(int(s) for s in stride.split("x")) if stride else None
        return tuple(int(s) for s in size.split("x")), steps

    if flags and name != "patch":
        raise ValueError(f"cut: {text!r}: only patch takes flags, got +{flags[0]}")
    if name in ("pixels", "values"):
        return Quantised(number(16), word=name, merge=merge or "concat")
    if name == "patch":
        size, stride = geometry()
        return Patches.from_flags(size, stride, flags, merge=merge or "concat")
    if name == "whole":
        return Patches(None, merge=merge or "concat")
    if name == "bytes":
        return RawBytes(merge=merge or "attention")
    if name == "chars":
        return Characters(merge=merge or "attention")
    if name == "bpe":
        return Bpe(number(), merge=merge or "attention")
    if name == "wordpiece":
        if not args:
            raise ValueError(f"cut: {text!r} takes a vocabulary file after the colon")
        return WordPieces(args, merge=merge or "attention")
    if name == "window":
        size, stride = geometry()
        if len(size) != 1 or (stride is not None and len(stride) != 1):
            raise ValueError(f"cut: {text!r}: text has one axis, got {len(size)}")
        return ByteWindows(size[0], stride[0] if stride else size[0], merge=merge or "attention")
    raise ValueError(
        f"cut: got {text!r}; it takes pixels, values, patch, whole, bytes, chars, bpe, wordpiece "
        "or window, such as pixels:16, patch:4/2@mean, bpe:512, window:8/4"
    )


def as_cut(value: Any) -> Cut:
    """A cut from what a user holds: a short name, a size, a fragment grid, a tokenizer, a cut."""
    from tokfrag.compare.cuts.arrays import Patches
    from tokfrag.compare.cuts.texts import TokenizerCut

    if isinstance(value, str):
        return parse_cut(value)
    if isinstance(value, Cut):
        return value
    if isinstance(value, int):
        return Patches((value,))
    if isinstance(value, Sequence) and value and all(isinstance(v, int) for v in value):
        return Patches(tuple(value))
    if hasattr(value, "origins") and hasattr(value, "size"):
        return Patches.of_grid(value)
    if callable(getattr(value, "encode", None)):
        return TokenizerCut(value)
    raise TypeError(
        f"cut: got {type(value).__name__}; it takes a short name, a size, a FragmentGrid, an "
        "object with .encode, or an object with .name, .family and .fit"
    )
