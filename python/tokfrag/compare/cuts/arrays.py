"""Cuts of arrays: values quantised to tokens, and fragments of space and time."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import FittedCut, Pieces, PieceSpec, Samples, check_merge
from tokfrag.compare.cuts.arguments import read_geometry, read_number, refuse_flags
from tokfrag.fragments import FragmentGrid, extract, merge

Edge: TypeAlias = Literal["pad", "drop", "shift"]
Window: TypeAlias = Literal["uniform", "hann", "gaussian", "triangular"]

_EDGES: tuple[Edge, ...] = ("pad", "drop", "shift")
_WINDOWS: tuple[Window, ...] = ("uniform", "hann", "gaussian", "triangular")


def _array(train: Samples, name: str) -> NDArray[Any]:
    x = train.x
    if not isinstance(x, np.ndarray) or x.ndim < 3:
        got = f"an array of shape {x.shape}" if isinstance(x, np.ndarray) else "text"
        raise ValueError(f"cut {name}: takes (samples, channels, *space_time), got {got}")
    return x


@dataclass(frozen=True)
class Quantised:
    """Every value a token: one of ``levels`` equal steps between the ends seen in training.

    Examples
    --------
    >>> from tokfrag.compare import Quantised, Samples
    >>> import numpy as np
    >>> x = np.array([[[0.0, 1.0, 2.0, 3.0]]])
    >>> fitted = Quantised(4).fit(Samples(x))
    >>> fitted.cut(x).values.tolist()
    [[0, 1, 2, 3]]
    """

    levels: int = 16
    word: str = "pixels"
    merge: str = "attention"

    def __post_init__(self) -> None:
        check_merge(self.merge)
        if not 2 <= self.levels <= 65536:
            raise ValueError(f"levels: got {self.levels}; it takes 2 to 65536")

    @classmethod
    def read(cls, word: str, args: str, flags: Sequence[str], merge: str | None) -> Quantised:
        """From a short name: ``pixels:LEVELS`` or ``values:LEVELS``.

        Parameters
        ----------
        word
            What stands before the colon.
        args
            How many levels; 16 where nothing stands there.
        flags
            The words between plus signs; only a patch takes any.
        merge
            How the network joins pieces; by attention where it is None.

        Returns
        -------
        Quantised
            The cut.

        Raises
        ------
        ValueError
            Where there are flags, or no whole number of levels.
        """
        refuse_flags(flags)
        return cls(read_number(args, 16), word, merge or "attention")

    @property
    def name(self) -> str:
        """The short name that stands for this cut, and names its row."""
        return f"{self.word}:{self.levels}" + (
            "" if self.merge == "attention" else f"@{self.merge}"
        )

    @property
    def family(self) -> str:
        """Always ``"tokens"``."""
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        """Find the ends of the values, leaving out one in 2000 at either.

        Parameters
        ----------
        train
            The part to learn from: ``x`` is an array of samples, channels and space-time.

        Returns
        -------
        FittedCut
            The shape of its pieces, and the function that makes them.

        Raises
        ------
        ValueError
            For texts, and where all values are one.
        """
        x = _array(train, self.name)
        low, high = np.quantile(x, (0.0005, 0.9995))
        if not high > low:
            raise ValueError(f"cut {self.name}: all values are {low:g}; there is nothing to cut")
        scale = self.levels / (high - low)

        def cut(samples: NDArray[Any]) -> Pieces:
            ids = np.clip((samples - low) * scale, 0, self.levels - 1).astype(np.int32)
            rows = ids.reshape(len(ids), -1)
            outside = float(np.mean((samples < low) | (samples > high)))
            return Pieces(rows, np.full(len(rows), rows.shape[1], np.int64), outside)

        n = int(np.prod(x.shape[1:]))
        return FittedCut(PieceSpec(n, (), self.levels, self.merge), cut)


@dataclass(frozen=True)
class Patches:
    """Fragments of ``size`` every ``stride`` positions; ``size=None`` is one whole fragment.

    One number stands for every axis. ``difference`` adds, to each channel, its change along the
    first axis. ``window`` weighs the fragments where answers are merged into whole arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from tokfrag.compare import Patches, Samples
    >>> x = np.random.default_rng(0).normal(size=(10, 1, 8, 8))
    >>> fitted = Patches((4,), (2,)).fit(Samples(x))
    >>> fitted.cut(x).values.shape, fitted.spec.n
    ((10, 9, 1, 4, 4), 9)
    """

    size: tuple[int, ...] | None
    stride: tuple[int, ...] | None = None
    edge: Edge = "pad"
    difference: bool = False
    window: Window = "uniform"
    merge: str = "attention"
    given: FragmentGrid | None = None

    def __post_init__(self) -> None:
        check_merge(self.merge)
        if self.edge not in _EDGES:
            raise ValueError(f"edge: got {self.edge!r}; it takes one of {', '.join(_EDGES)}")
        if self.window not in _WINDOWS:
            raise ValueError(f"window: got {self.window!r}; it takes one of {', '.join(_WINDOWS)}")

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> Patches:
        """From a short name: ``patch:SIZE/STRIDE`` and what stands between plus signs.

        Parameters
        ----------
        args
            The size, and the stride after a slash, in positions; ``x`` stands between axes.
        flags
            An edge rule, a window, ``diff``.
        merge
            How the network joins pieces; by attention where it is None.

        Returns
        -------
        Patches
            The cut.

        Raises
        ------
        ValueError
            For a flag that a patch does not take, or sizes that are no numbers.
        """
        size, stride = read_geometry(args)
        edges = [edge for edge in _EDGES if edge in flags]
        windows = [window for window in _WINDOWS if window in flags]
        known = {*_EDGES, *_WINDOWS, "diff"}
        for flag in flags:
            if flag not in known:
                raise ValueError(f"got +{flag}; patch takes +{', +'.join(sorted(known))}")
        return cls(
            size,
            stride,
            edges[-1] if edges else "pad",
            "diff" in flags,
            windows[-1] if windows else "uniform",
            merge or "attention",
        )

    @classmethod
    def read_whole(cls, args: str, flags: Sequence[str], merge: str | None) -> Patches:
        """From the short name ``whole``: one fragment.

        Parameters
        ----------
        args
            Nothing stands after the colon.
        flags
            The words between plus signs; only a patch takes any.
        merge
            How the network joins pieces; by attention where it is None.

        Returns
        -------
        Patches
            The cut.

        Raises
        ------
        ValueError
            Where there are flags, or anything after a colon.
        """
        refuse_flags(flags)
        if args:
            raise ValueError(f"whole takes nothing after a colon, got {args!r}")
        return cls(None, merge=merge or "attention")

    @classmethod
    def of_grid(cls, grid: FragmentGrid) -> Patches:
        """The cut that a grid describes, for samples of the grid's shape.

        Parameters
        ----------
        grid
            Where the fragments lie.

        Returns
        -------
        Patches
            The cut.
        """
        return cls(grid.size, grid.stride, grid.edge, given=grid)

    @property
    def name(self) -> str:
        """The short name that stands for this cut, and names its row."""
        if self.size is None:
            text = "whole"
        else:
            text = "patch:" + "x".join(map(str, self.size))
        if self.stride is not None and self.stride != self.size:
            text += "/" + "x".join(map(str, self.stride))
        text += "" if self.edge == "pad" else f"+{self.edge}"
        text += "+diff" if self.difference else ""
        text += "" if self.window == "uniform" else f"+{self.window}"
        return text + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        """Always ``"fragments"``."""
        return "fragments"

    def grid(self, shape: tuple[int, ...]) -> FragmentGrid:
        """The grid on one sample of ``shape``.

        Parameters
        ----------
        shape
            Positions along each axis of space and time.

        Returns
        -------
        FragmentGrid
            Where the fragments lie.

        Raises
        ------
        ValueError
            Where a fragment does not fit, or the cut was made from a grid of another shape.
        """
        if self.given is not None:
            if self.given.shape != shape:
                raise ValueError(
                    f"cut {self.name}: its grid is for samples of {self.given.shape}, got {shape}"
                )
            return self.given
        size = shape if self.size is None else self._per_axis(self.size, shape, "size")
        stride = size if self.stride is None else self._per_axis(self.stride, shape, "stride")
        if any(s > axis for s, axis in zip(size, shape, strict=True)):
            most = "x".join(map(str, shape))
            raise ValueError(f"cut {self.name}: does not fit samples of {most}; at most {most}")
        with warnings.catch_warnings():
            # The report has a column for what an edge rule leaves out.
            warnings.simplefilter("ignore")
            return FragmentGrid(shape, size, stride, edge=self.edge)

    def fit(self, train: Samples) -> FittedCut:
        """Lay the grid, and find each channel's mean and spread.

        Parameters
        ----------
        train
            The part to learn from: ``x`` is an array of samples, channels and space-time.

        Returns
        -------
        FittedCut
            The shape of its pieces, and the function that makes them.

        Raises
        ------
        ValueError
            For texts, and where a fragment does not fit the samples.
        """
        x = _array(train, self.name)
        shape = x.shape[2:]
        grid = self.grid(shape)
        axes = (0, *range(2, x.ndim))
        mean = x.mean(axis=axes, keepdims=True, dtype=np.float64).astype(np.float32)
        std = x.std(axis=axes, keepdims=True, dtype=np.float64).astype(np.float32)
        scale = 1 / np.where(std > 0, std, 1)

        def whole(samples: NDArray[Any]) -> NDArray[Any]:
            values: NDArray[Any] = (samples.astype(np.float32) - mean) * scale
            if self.difference:
                change = np.diff(values, axis=2, prepend=values[:, :, :1])
                values = np.concatenate((values, change), axis=1)
            return values

        def split(labels: NDArray[Any], outside: int) -> NDArray[Any]:
            return np.asarray(extract(labels, _with_pad_value(grid, outside)))

        def cut(samples: NDArray[Any]) -> Pieces:
            fragments = np.asarray(extract(whole(samples), grid))
            return Pieces(fragments, np.full(len(fragments), grid.n, np.int64))

        def join(outputs: NDArray[Any]) -> NDArray[Any]:
            return np.asarray(merge(outputs, grid, window=self.window))

        seen = np.asarray(grid.coverage())
        channels = x.shape[1] * (2 if self.difference else 1)
        spec = PieceSpec(grid.n, (channels, *grid.size), None, self.merge)
        notes: tuple[str, ...] = ()
        if self.merge == "mean" and grid.n > 1:
            notes = ("mean merge: the network is not told where a fragment was",)
        return FittedCut(
            spec,
            cut,
            coverage=float(np.mean(seen > 0)),
            overlap=float(seen.sum() / max(1, np.count_nonzero(seen))),
            split=split,
            join=join,
            whole=whole,
            borders=_near_borders(grid, shape),
            boxes=tuple(
                tuple((int(a), int(a) + s) for a, s in zip(origin, grid.size, strict=True))
                for origin in np.asarray(grid.origins)
            ),
            notes=notes,
        )

    def _per_axis(
        self, value: tuple[int, ...], shape: tuple[int, ...], what: str
    ) -> tuple[int, ...]:
        if len(value) == 1:
            return value * len(shape)
        if len(value) != len(shape):
            raise ValueError(
                f"cut {self.name}: {what} has {len(value)} axes, the samples have {len(shape)}"
            )
        return value


def _with_pad_value(grid: FragmentGrid, value: int) -> FragmentGrid:
    """The same windows, with ``value`` beyond the edge."""
    if grid.edge != "pad":
        return grid
    return FragmentGrid(grid.shape, grid.size, grid.stride, pad_value=value, dilation=grid.dilation)


def _near_borders(grid: FragmentGrid, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where a position lies next to the first or last position of a fragment inside the array."""
    near = np.zeros(shape, dtype=bool)
    origins = np.asarray(grid.origins)
    for axis, (extent, size) in enumerate(zip(shape, grid.size, strict=True)):
        starts = np.unique(origins[:, axis])
        edges = np.concatenate((starts, starts + size))
        edges = edges[(edges > 0) & (edges < extent)]
        index: list[Any] = [slice(None)] * len(shape)
        index[axis] = np.unique(np.concatenate((edges - 1, edges)))
        near[tuple(index)] = True
    return near
