"""Patches that are small where something happens: squares are quartered by their variance."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import FittedCut, Pieces, PieceSpec, Samples, check_merge
from tokfrag.compare.cuts.arguments import read_geometry, refuse_flags
from tokfrag.fragments import FragmentGrid, extract, fragment_features

Box = tuple[int, tuple[int, ...]]


@dataclass(frozen=True)
class QuadPatches:
    """Patches between ``least`` and ``most`` wide, each sample's where it varies.

    From patches of ``most`` on, the one of the largest variance is halved along every axis, until
    there are about half as many as patches of ``least`` would be; so all samples have as many. A
    patch is shown averaged down to ``least``, with channels that tell where it begins and how wide
    it is.

    Examples
    --------
    >>> import numpy as np
    >>> from tokfrag.compare import Samples
    >>> x = np.zeros((3, 1, 8, 8))
    >>> x[:, 0, :4, :4] = np.random.default_rng(0).normal(size=(3, 4, 4))
    >>> fitted = QuadPatches(2, 4).fit(Samples(x))
    >>> fitted.cut(x).values.shape
    (3, 7, 4, 2, 2)
    """

    least: int
    most: int
    merge: str = "attention"

    def __post_init__(self) -> None:
        check_merge(self.merge)
        ratio = self.most // max(1, self.least)
        if self.least < 1 or ratio < 2 or ratio & (ratio - 1) or self.most % self.least:
            raise ValueError(
                f"quad: got {self.least}/{self.most}; it takes LEAST/MOST, the second 2, 4, 8 ... "
                "times the first"
            )

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> QuadPatches:
        """From a short name: ``quad:LEAST/MOST``, or ``quad:LEAST`` for four times that."""
        refuse_flags(flags)
        least, most = read_geometry(args)
        if len(least) != 1 or (most is not None and len(most) != 1):
            raise ValueError("quad takes one number for all axes")
        return cls(least[0], most[0] if most else 4 * least[0], merge or "attention")

    @property
    def name(self) -> str:
        """The short name that stands for this cut, and names its row."""
        text = f"quad:{self.least}" + ("" if self.most == 4 * self.least else f"/{self.most}")
        return text + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        """Always ``"fragments"``."""
        return "fragments"

    def fit(self, train: Samples) -> FittedCut:
        """Find each channel's mean and spread; the patches themselves are of each sample.

        Raises
        ------
        ValueError
            For texts, and for samples smaller than the largest patch.
        """
        x = train.x
        if not isinstance(x, np.ndarray) or x.ndim < 3:
            raise ValueError("takes (samples, channels, *space_time)")
        shape = x.shape[2:]
        if min(shape) < self.most:
            raise ValueError(f"does not fit samples of {'x'.join(map(str, shape))}")
        axes = (0, *range(2, x.ndim))
        mean = x.mean(axis=axes, keepdims=True, dtype=np.float64).astype(np.float32)
        std = x.std(axis=axes, keepdims=True, dtype=np.float64).astype(np.float32)
        scale = 1 / np.where(std > 0, std, 1)
        sizes = [self.most >> k for k in range((self.most // self.least).bit_length())]
        extent = tuple(-(-s // self.most) * self.most for s in shape)
        coarse = int(np.prod([e // self.most for e in extent]))
        fine = int(np.prod([e // self.least for e in extent]))
        more = (1 << len(shape)) - 1
        halvings = max(1, (fine // 2 - coarse) // more) if fine > coarse else 0
        n = coarse + min(halvings, (fine - coarse) // more) * more

        def scaled(samples: NDArray[Any]) -> NDArray[np.float32]:
            return np.ascontiguousarray((samples.astype(np.float32) - mean) * scale)

        def cut(samples: NDArray[Any]) -> Pieces:
            pieces = _pieces(scaled(samples), shape, sizes, n)
            return Pieces(pieces, np.full(len(pieces), n, np.int64))

        def boxes_of(sample: NDArray[Any]) -> tuple[tuple[tuple[int, int], ...], ...]:
            (leaves,) = _all_leaves(_padded(scaled(sample[None]), shape, sizes[0]), sizes, n)
            return tuple(
                tuple((w * sizes[level], (w + 1) * sizes[level]) for w in where)
                for level, where in leaves
            )

        channels = x.shape[1] + len(shape) + 1
        spec = PieceSpec(n, (channels, *(self.least,) * len(shape)), None, self.merge)
        notes = (f"{n} patches a sample in place of {fine}, where it varies most",)
        return FittedCut(spec, cut, boxes_of=boxes_of, notes=notes)


def _padded(values: NDArray[np.float32], shape: tuple[int, ...], size: int) -> NDArray[np.float32]:
    """Samples rounded up to whole patches: beyond the edge lies the data's mean, here zero."""
    padded = np.zeros((*values.shape[:2], *_rounded(shape, size)), np.float32)
    inside = (slice(None), slice(None), *(slice(0, extent) for extent in shape))
    padded[inside] = values
    return padded


def _all_leaves(padded: NDArray[np.float32], sizes: list[int], n: int) -> list[list[Box]]:
    """The patches of every sample."""
    shape = padded.shape[2:]
    grids = [FragmentGrid(shape, size, size) for size in sizes[:-1]]
    spread = [
        np.square(np.asarray(fragment_features(padded, grid, ("std",))))[..., 0].sum(2)
        for grid in grids
    ]
    counts = [tuple(extent // size for extent in shape) for size in sizes]
    return [_leaves([level[i] for level in spread], counts, n) for i in range(len(padded))]


def _pieces(
    values: NDArray[np.float32], shape: tuple[int, ...], sizes: list[int], n: int
) -> NDArray[np.float32]:
    """All samples' patches, ``(samples, n, channels + axes + 1, *least)``."""
    count, channels, least, axes = len(values), values.shape[1], sizes[-1], len(shape)
    padded = _padded(values, shape, sizes[0])
    grids = [FragmentGrid(padded.shape[2:], size, size) for size in sizes]
    shown = [_averaged(np.asarray(extract(padded, grid)), least) for grid in grids]
    counts = [tuple(extent // size for extent in padded.shape[2:]) for size in sizes]
    found = np.zeros((count, n, channels + axes + 1, *(least,) * axes), np.float32)
    for i, leaves in enumerate(_all_leaves(padded, sizes, n)):
        for place, (level, where) in enumerate(leaves):
            patch = found[i, place]
            patch[:channels] = shown[level][i, int(np.ravel_multi_index(where, counts[level]))]
            for axis in range(axes):
                patch[channels + axis] = where[axis] * sizes[level] / shape[axis] - 0.5
            patch[channels + axes] = level - (len(sizes) - 1) / 2
    return found


def _rounded(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    return tuple(-(-s // size) * size for s in shape)


def _averaged(patches: NDArray[np.float32], least: int) -> NDArray[np.float32]:
    """Patches averaged down to ``least`` along every axis."""
    for axis in range(3, patches.ndim):
        before, after = patches.shape[:axis], patches.shape[axis + 1 :]
        patches = patches.reshape(*before, least, -1, *after).mean(axis + 1)
    return patches


def _leaves(
    spread: list[NDArray[np.floating[Any]]], counts: list[tuple[int, ...]], n: int
) -> list[Box]:
    """The ``n`` patches of one sample, in the order of their places."""

    def entry(level: int, where: tuple[int, ...]) -> tuple[float, int, tuple[int, ...]]:
        # The share of the squares: a wide patch has more of them than a narrow one.
        cells = 1 / float(np.prod(counts[level]))
        return (
            -float(spread[level][np.ravel_multi_index(where, counts[level])]) * cells,
            level,
            where,
        )

    heap = [entry(0, where) for where in product(*map(range, counts[0]))]
    heapq.heapify(heap)
    done: list[Box] = []
    while len(heap) + len(done) < n:
        _, level, where = heapq.heappop(heap)
        for corner in product((0, 1), repeat=len(where)):
            child = tuple(2 * w + c for w, c in zip(where, corner, strict=True))
            if level + 1 < len(spread):
                heapq.heappush(heap, entry(level + 1, child))
            else:
                done.append((level + 1, child))
    leaves = done + [(level, where) for _, level, where in heap]
    return sorted(
        leaves, key=lambda leaf: [w / c for w, c in zip(leaf[1], counts[leaf[0]], strict=True)]
    )
