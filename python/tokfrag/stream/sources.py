"""What a packed loader reads: documents of tokens, and documents with images between the tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag._arrays import is_tensor
from tokfrag.stream.layouts import WHISPER, Layout, layout_of
from tokfrag.stream.patches import grid_of
from tokfrag.stream.pixels import shape_of
from tokfrag.stream.placeholders import expand_placeholders
from tokfrag.stream.resizing import resize
from tokfrag.tokens.shards.reading import TokenShards

#: Of each document, by its number: a sequence, or a function of the number.
PerDocument: TypeAlias = "Sequence[Any] | Callable[[int], Any]"

_NO_SPANS: list[tuple[int, int]] = []


class Tokens:
    """The documents of a source of ids alone."""

    def __init__(self, source: Any, name: str) -> None:
        self._source = source
        self._ends: NDArray[np.int64] | None = None
        if isinstance(source, TokenShards):
            self._ends = np.concatenate([[0], source.document_ends])
        elif not hasattr(source, "__getitem__") or not hasattr(source, "__len__"):
            raise TypeError(
                f"{name} is a {type(source).__name__}, takes TokenShards, sequences of documents"
                " or an ImageSource"
            )

    def __len__(self) -> int:
        return len(self._source) if self._ends is None else len(self._ends) - 1

    def measure(self, document: int) -> tuple[int, list[tuple[int, int]]]:
        """How many places a document takes, and which of them belong together."""
        if self._ends is None:
            return len(self._source[document]), _NO_SPANS
        return int(self._ends[document + 1] - self._ends[document]), _NO_SPANS

    def ids(self, document: int, begin: int, end: int) -> Any:
        """Give some ids of a document."""
        if self._ends is None:
            return self._source[document][begin:end]
        first = int(self._ends[document])
        return self._source[first + begin : first + end]


@dataclass(frozen=True)
class ImageSource:
    """Documents with images, for :class:`PackedLoader`.

    Parameters
    ----------
    documents : TokenShards, or a sequence of (tokens,) integer arrays
        With ``placeholder`` once an image; the loader expands it to the image's places.
    images : sequence, or function of a document's number
        The images and videos of each document, in the order of its placeholders: all that
        :func:`patchify` takes. Workers call it; where ``sizes`` are not given the planner does too,
        and a Pillow image that is not loaded yet costs it no more than the file's head.
    layout : str or Layout
    placeholder : int
    sizes : sequence, or function of a document's number, optional
        The sizes of each document's images as ``images`` gives them, so that none needs to be
        opened to plan: (height, width) or (frames, height, width) each.
    resize_to : function of a height and a width, optional
        The size that an image is resized to, by Pillow: ``lambda h, w: area_size(h, w, layout)``.
    resample : "nearest", "bilinear", "bicubic" or "lanczos"
    scale, shift, dtype
        As :func:`patchify` takes them.

    Raises
    ------
    ValueError
        The layout is one of sound, or none.
    TypeError
        Documents or images are neither a sequence nor what else is taken.

    Examples
    --------
    >>> pictures = [[np.zeros((28, 56, 3), np.uint8)], []]
    >>> source = ImageSource([[5, 99, 6], [7, 8]], pictures, layout="qwen2_vl", placeholder=99)
    >>> len(source)
    2
    """

    documents: Any
    images: PerDocument
    layout: str | Layout = field(kw_only=True)
    placeholder: int = field(kw_only=True)
    sizes: PerDocument | None = field(default=None, kw_only=True)
    resize_to: Callable[[int, int], tuple[int, int]] | None = field(default=None, kw_only=True)
    resample: Any = field(default="bicubic", kw_only=True)
    scale: Any = field(default=None, kw_only=True)
    shift: Any = field(default=None, kw_only=True)
    dtype: Any = field(default=np.float32, kw_only=True)

    def __post_init__(self) -> None:
        if self.plan is WHISPER:
            raise ValueError("layout: got 'whisper', takes a layout of images")
        for name in ("images", "sizes"):
            given = getattr(self, name)
            if given is None and name == "sizes":
                continue
            if not callable(given) and not hasattr(given, "__getitem__"):
                raise TypeError(
                    f"{name}: got {type(given).__name__}, takes a sequence or a function of a"
                    " document's number"
                )
            if not callable(given) and len(given) != len(self):
                raise ValueError(f"{name}: got {len(given)} for {len(self)} documents")

    def __len__(self) -> int:
        """How many documents there are."""
        return len(self._tokens())

    def __repr__(self) -> str:
        kind = type(self.documents).__name__
        return f"ImageSource({len(self)} documents of {kind}, layout={self.layout!r})"

    @property
    def plan(self) -> Layout:
        """The layout, where its name was given too."""
        return layout_of(self.layout)

    def _tokens(self) -> Tokens:
        return Tokens(self.documents, "documents:")

    def measure(self, document: int) -> tuple[int, list[tuple[int, int]]]:
        """Give how many places a document takes, and which of them belong together.

        Parameters
        ----------
        document : int
            Its number.

        Returns
        -------
        places : int
        spans : list of (begin, end)
            Of each image.
        """
        read = self.read(document)
        return len(read.raw) + sum(end - begin - 1 for begin, end in read.spans), read.spans

    def read(self, document: int) -> ReadDocument:
        """Read a document; its images only where nothing else tells their sizes.

        Parameters
        ----------
        document : int
            Its number.

        Returns
        -------
        ReadDocument

        Raises
        ------
        ValueError
            There are not as many placeholders as images, or the layout cannot take an image's size.
        """
        tokens = self._tokens()
        ids = np.asarray(tokens.ids(document, 0, tokens.measure(document)[0]))
        return ReadDocument(self, document, ids)


class ReadDocument:
    """One document of an :class:`ImageSource`: its ids, and where its images lie in it.

    Attributes
    ----------
    raw : (tokens,) array
        The ids as they came.
    grids : (images, 3) array, int64
        Patches of each image along time, height and width.
    spans : list of (begin, end)
        Where each image's places lie among the expanded ids.
    """

    def __init__(self, source: ImageSource, document: int, ids: NDArray[Any]) -> None:
        self.raw = ids
        self._source, self._number = source, document
        self._images: list[Any] | None = None
        self.grids = self._find_grids()
        self.spans = self._find_spans()

    def ids(self) -> NDArray[Any]:
        """Give the ids, placeholders expanded."""
        return expand_placeholders(self.raw, self._source.placeholder, self._places())

    def sized_images(self, numbers: list[int]) -> list[Any]:
        """Give some images, resized where the source says so."""
        if not numbers:
            return []
        images = self._given_images()
        return [self._resized(images[number]) for number in numbers]

    def _given_images(self) -> list[Any]:
        if self._images is None:
            given = _of(self._source.images, self._number)
            if isinstance(given, np.ndarray) or is_tensor(given) or hasattr(given, "getbands"):
                given = [given]
            self._images = list(given)
        return self._images

    def _find_grids(self) -> NDArray[np.int64]:
        source, plan = self._source, self._source.plan
        if source.sizes is None:
            shapes = [shape_of(image, plan.channels) for image in self._given_images()]
        else:
            sizes = _of(source.sizes, self._number)
            if any(len(size) not in (2, 3) for size in sizes):
                raise ValueError(
                    f"sizes: document {self._number}: got {list(sizes)}, takes (height, width) or"
                    " (frames, height, width) each"
                )
            shapes = [(1, *size) if len(size) == 2 else tuple(size) for size in sizes]
        grids = []
        for number, (frames, height, width) in enumerate(shapes):
            size = int(height), int(width)
            if source.resize_to is not None:
                size = source.resize_to(*size)
            name = f"document {self._number}, image {number}"
            grids.append(grid_of(int(frames), *size, plan, name))
        return np.array(grids, np.int64).reshape(-1, 3)

    def _resized(self, image: Any) -> Any:
        source = self._source
        if source.resize_to is None:
            return image
        _, height, width = shape_of(image, source.plan.channels)
        size = source.resize_to(height, width)
        if size == (height, width):
            return image
        if getattr(image, "ndim", 3) == 4:
            return np.stack([resize(f, size, resample=source.resample) for f in np.asarray(image)])
        return resize(image, size, resample=source.resample)

    def _places(self) -> NDArray[np.int64]:
        places: NDArray[np.int64] = self.grids.prod(1) // self._source.plan.merge**2
        return places

    def _find_spans(self) -> list[tuple[int, int]]:
        placeholder = self._source.placeholder
        found = np.flatnonzero(self.raw == placeholder)
        if len(found) != len(self.grids):
            many = len(found) > len(self.grids)
            where = (
                f"; the first one too many stands at position {int(found[len(self.grids)])}"
                if many
                else ""
            )
            raise ValueError(
                f"documents: number {self._number} holds {len(found)} placeholders ({placeholder})"
                f" for {len(self.grids)} images{where}"
            )
        places = self._places()
        begins = found + np.cumsum(places) - places - np.arange(len(found))
        return [(int(b), int(b + n)) for b, n in zip(begins, places, strict=True)]


def _of(given: PerDocument, document: int) -> Any:
    return given(document) if callable(given) else given[document]


__all__ = ["ImageSource", "ReadDocument", "Tokens"]
