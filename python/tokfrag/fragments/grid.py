"""Where fragments lie: sizes, strides, edges."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.fragments.arguments import (
    MAX_AXES,
    Padding,
    PerAxis,
    integers,
    placed_lengths,
    placement,
    space_time_shape,
    window_spec,
)
from tokfrag.fragments.axes import (
    EDGES,
    PAD_MODES,
    Edge,
    PadMode,
    axis_count,
    axis_covered,
    axis_starts,
    source_positions,
    windows_over,
)

if TYPE_CHECKING:
    from tokfrag._core.fragments import GridPlan

_INT64_MAX = 2**63 - 1


class UncoveredWarning(UserWarning):
    """A grid with ``edge="drop"`` leaves some positions in no fragment."""


class FragmentGrid:
    """The fragments of an array with 1 to 4 space-time axes: equal windows at regular starts.

    On an axis of `length`, a window holds the `size` positions ``start + dilation * k``, so it
    reaches over ``extent = dilation * (size - 1) + 1`` of them. Windows start at 0, `stride`,
    ``2 * stride``, and so on; `edge` says what happens where they do not fit:

    - ``"pad"``: as many windows as it takes to reach the axis' last position; what lies beyond the
      axis is made by `pad_mode`. No padded copy of the data is ever made.
    - ``"drop"``: only windows that fit; warns (`UncoveredWarning`) if that loses positions.
    - ``"shift"``: the last window is moved back until it fits, so it overlaps more than the others.

    Fragments are numbered in row-major order over `counts`. An axis of length 0 has no fragment.
    Grids are immutable, hashable, and compare by value.

    Parameters
    ----------
    shape : int or sequence of int
        The lengths of the space-time axes (no batch, no channels).
    size, stride, dilation : int or sequence of int
        One integer for all axes, or one an axis; `stride` defaults to `size`.
    edge : "pad", "drop" or "shift"
    pad_mode : "constant", "reflect", "replicate" or "circular"
        As in ``torch.nn.functional.pad``, at any distance; "reflect" repeats no last position.
    pad_value : bool, int, float or complex
        Fills what lies beyond the axis under "constant".
    offset : int or sequence of int
        Where the first window starts; what lies before is in no window.
    padding : int or sequence of int or of pairs
        Positions before and after each axis, made by `pad_mode`, over which windows go too.

    Raises
    ------
    ValueError
        Lengths, sizes, strides or dilations are out of range or of another rank than `shape`; a
        window is longer than its axis with ``"drop"`` or ``"shift"``.
    TypeError
        A value is not an integer.

    Examples
    --------
    >>> grid = FragmentGrid((10,), size=4, stride=3, edge="shift")
    >>> grid.counts, grid.origins[:, 0].tolist()
    ((3,), [0, 3, 6])
    >>> grid.coverage().tolist()
    [1, 1, 1, 2, 1, 1, 2, 1, 1, 1]
    >>> grid.shifted(np.random.default_rng(0)).offset
    (2,)
    """

    __slots__ = (
        "_cache",
        "_hash",
        "_key",
        "_plan",
        "_starts",
        "_uncovered",
        "counts",
        "dilation",
        "edge",
        "inner",
        "n",
        "offset",
        "pad_mode",
        "pad_value",
        "padded_shape",
        "padding",
        "shape",
        "size",
        "stride",
    )

    shape: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    edge: Edge
    pad_mode: PadMode
    pad_value: bool | int | float | complex
    #: Fragments an axis.
    counts: tuple[int, ...]
    #: Fragments in all: the product of `counts`.
    n: int
    #: How far the fragments and the data reach together; more than `shape` only with padding.
    padded_shape: tuple[int, ...]
    #: Where the first window starts on each axis, were there no padding.
    offset: tuple[int, ...]
    #: Positions before and after each axis over which windows go too.
    padding: tuple[tuple[int, int], ...]
    #: The same windows over all positions that they reach, those beyond the axes counted; None
    #: for a grid without offset and padding.
    inner: FragmentGrid | None
    _key: tuple[Any, ...]
    _hash: int
    _plan: GridPlan | None
    _cache: dict[Any, Any]  # what calls on this grid prepare once: pad values, merge weights
    _starts: tuple[NDArray[np.int64], ...] | None
    _uncovered: int | None

    def __init__(
        self,
        shape: PerAxis,
        size: PerAxis,
        stride: PerAxis | None = None,
        *,
        edge: Edge = "pad",
        pad_mode: PadMode = "constant",
        pad_value: bool | int | float | complex = 0,
        dilation: PerAxis = 1,
        offset: PerAxis = 0,
        padding: Padding = 0,
    ) -> None:
        lengths = integers(shape, "shape", least=0)
        rank = len(lengths)
        if not 1 <= rank <= MAX_AXES:
            raise ValueError(f"shape: got {rank} space-time axes, takes 1 to {MAX_AXES}")
        spec = window_spec(rank, size, stride, edge, pad_mode, pad_value, dilation)
        _fill(self, lengths, *spec, *placement(lengths, offset, padding))
        if self.edge == "drop" and self.uncovered:
            warnings.warn(
                f"edge='drop' leaves {self.uncovered} of {prod(lengths)} positions in no fragment "
                f"(shape {lengths}, size {self.size}, stride {self.stride}); "
                "edge='pad' and edge='shift' cover the end of every axis",
                UncoveredWarning,
                stacklevel=2,
            )

    @classmethod
    def of(
        cls,
        x: Any,
        size: PerAxis,
        stride: PerAxis | None = None,
        *,
        channels_last: bool = False,
        edge: Edge = "pad",
        pad_mode: PadMode = "constant",
        pad_value: bool | int | float | complex = 0,
        dilation: PerAxis = 1,
        offset: PerAxis = 0,
        padding: Padding = 0,
    ) -> FragmentGrid:
        """The grid over the space-time axes of `x`.

        Parameters
        ----------
        x : (batch, channels, *space_time) array or tensor
            Only its shape is read.
        channels_last : bool
            Whether `x` is ``(batch, *space_time, channels)``.
        size, stride, edge, pad_mode, pad_value, dilation, offset, padding
            As in :class:`FragmentGrid`.

        Returns
        -------
        FragmentGrid

        Examples
        --------
        >>> FragmentGrid.of(np.zeros((1, 3, 32, 48)), 16).counts
        (2, 3)
        """
        return cls(
            space_time_shape(x.shape, channels_last),
            size,
            stride,
            edge=edge,
            pad_mode=pad_mode,
            pad_value=pad_value,
            dilation=dilation,
            offset=offset,
            padding=padding,
        )

    @classmethod
    def checked(
        cls,
        shape: tuple[int, ...],
        size: tuple[int, ...],
        stride: tuple[int, ...],
        edge: Edge,
        pad_mode: PadMode,
        pad_value: bool | int | float | complex,
        dilation: tuple[int, ...],
        offset: tuple[int, ...] = (),
        padding: tuple[tuple[int, int], ...] = (),
    ) -> FragmentGrid:
        """A grid from arguments a grid has had before, so that its warning is not given twice.

        Parameters
        ----------
        shape, size, stride, edge, pad_mode, pad_value, dilation, offset, padding
            As the attributes of a grid hold them: one integer an axis.

        Returns
        -------
        FragmentGrid
        """
        grid = cls.__new__(cls)
        _fill(grid, shape, size, stride, edge, pad_mode, pad_value, dilation, offset, padding)
        return grid

    def shifted(self, rng: np.random.Generator) -> FragmentGrid:
        """The grid with a random offset below its stride, for training: other windows each time.

        Parameters
        ----------
        rng : numpy.random.Generator

        Returns
        -------
        FragmentGrid

        Raises
        ------
        TypeError
            `rng` is no generator.
        """
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng: got {type(rng).__name__}, takes a numpy.random.Generator")
        axes = zip(self.shape, self.size, self.stride, self.dilation, self.padding, strict=True)
        offset = []
        for length, w, s, step, (before, after) in axes:
            room = length + before + after - (step * (w - 1) + 1) + 1  # for a whole window
            most = min(s, length) if self.edge == "pad" else min(s, length, room)
            offset.append(int(rng.integers(max(most, 1))))
        spec = (self.size, self.stride, self.edge, self.pad_mode, self.pad_value, self.dilation)
        return FragmentGrid.checked(self.shape, *spec, tuple(offset), self.padding)

    @property
    def starts(self) -> tuple[NDArray[np.int64], ...]:
        """The windows' first positions on each axis: `counts` integers an axis, ascending."""
        if self._starts is None:
            object.__setattr__(self, "_starts", _starts_of(self))
        assert self._starts is not None
        return self._starts

    @property
    def origins(self) -> NDArray[np.int64]:
        """The first position of each fragment: ``(n, axes)``."""
        mesh = np.meshgrid(*self.starts, indexing="ij")
        return np.stack([axis.reshape(-1) for axis in mesh], axis=1)

    def coverage(self) -> NDArray[np.int64]:
        """How many fragments hold each position.

        Returns
        -------
        (*shape) array, int64
        """
        total = np.ones((), np.int64)
        for counts in self.axis_coverage():
            total = total[..., None] * counts
        return total

    def axis_coverage(self) -> list[NDArray[np.int64]]:
        """How many windows hold each position, axis by axis; `coverage` is their outer product.

        Returns
        -------
        list of (length,) arrays, int64
        """
        spec = zip(self.shape, self.size, self.dilation, self.starts, strict=True)
        return [windows_over(*axis) for axis in spec]

    @property
    def uncovered(self) -> int:
        """How many positions no fragment holds."""
        if self._uncovered is None:
            if self.inner is None and all(c == 1 for c in self.dilation):
                covered = prod(map(axis_covered, *_columns(self)))
            else:
                covered = prod(int(np.count_nonzero(c)) for c in self.axis_coverage())
            object.__setattr__(self, "_uncovered", prod(self.shape) - covered)
        assert self._uncovered is not None
        return self._uncovered

    @property
    def plan(self) -> GridPlan:
        """The native kernels' tables for this grid, made on first use."""
        if self.inner is not None:
            raise ValueError(f"grid: got {self}, takes one without offset and padding")
        if self._plan is None:
            from tokfrag._core.fragments import GridPlan

            object.__setattr__(
                self,
                "_plan",
                GridPlan(
                    self.shape,
                    self.size,
                    self.stride,
                    self.dilation,
                    EDGES.index(self.edge),
                    PAD_MODES.index(self.pad_mode),
                ),
            )
        assert self._plan is not None
        return self._plan

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"FragmentGrid is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"FragmentGrid is immutable: cannot delete {name!r}")

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return self._key == other._key if isinstance(other, FragmentGrid) else NotImplemented

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Callable[..., FragmentGrid], tuple[Any, ...]]:
        spec = (self.size, self.stride, self.edge, self.pad_mode, self.pad_value, self.dilation)
        return FragmentGrid.checked, (self.shape, *spec, self.offset, self.padding)

    def __repr__(self) -> str:
        text = f"FragmentGrid({self.shape}, size={self.size}, stride={self.stride}"
        text += f", edge={self.edge!r}"
        if self.edge == "pad":
            text += f", pad_mode={self.pad_mode!r}"
            if self.pad_mode == "constant" and self.pad_value != 0:
                text += f", pad_value={self.pad_value}"
        if any(step != 1 for step in self.dilation):
            text += f", dilation={self.dilation}"
        if self.inner is not None:
            text += f", offset={self.offset}, padding={self.padding}"
        return text + ")"


def source_table(grid: FragmentGrid, axis: int) -> NDArray[np.int64]:
    """For each position that windows reach, the one it is read from; -1 for the pad value."""
    reach, first = grid.padded_shape[axis], grid.offset[axis] - grid.padding[axis][0]
    return source_positions(grid.shape[axis], reach, grid.pad_mode, first)


def kept_grid(
    shape: tuple[int, ...],
    size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    edge: Edge,
    pad_mode: PadMode,
    pad_value: bool | int | float | complex,
) -> FragmentGrid:
    """The grid of an operator's arguments, made once for each."""
    zero = "" if pad_value else str(pad_value)  # 0.0 and -0.0 are one key, but not one value
    return _kept_grid(shape, size, stride, dilation, edge, pad_mode, pad_value, zero)


@lru_cache(maxsize=256)
def _kept_grid(
    shape: tuple[int, ...],
    size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    edge: Edge,
    pad_mode: PadMode,
    pad_value: bool | int | float | complex,
    zero: str,
) -> FragmentGrid:
    # Not through __init__: its warning about uncovered positions belongs to the user's own grid.
    return FragmentGrid.checked(shape, size, stride, edge, pad_mode, pad_value, dilation)


def _fill(
    grid: FragmentGrid,
    shape: tuple[int, ...],
    size: tuple[int, ...],
    stride: tuple[int, ...],
    edge: Edge,
    pad_mode: PadMode,
    pad_value: bool | int | float | complex,
    dilation: tuple[int, ...],
    offset: tuple[int, ...] = (),
    padding: tuple[tuple[int, int], ...] = (),
) -> None:
    offset = offset or (0,) * len(shape)
    padding = padding or ((0, 0),) * len(shape)
    counts, padded = [], []
    lengths = placed_lengths(shape, offset, padding)
    for axis, (length, w, s, step) in enumerate(zip(lengths, size, stride, dilation, strict=True)):
        extent = step * (w - 1) + 1
        if edge != "pad" and 0 < length < extent:
            raise ValueError(
                f"size: a window reaches over {extent} positions on axis {axis}, which has "
                f"{length}; edge={edge!r} takes windows that fit, edge='pad' takes any"
            )
        count = axis_count(length, w, s, step, edge)
        reach = (count - 1) * s + extent if edge == "pad" and count else 0
        counts.append(count)
        padded.append(max(length, reach))
    for what, extents in (
        ("fragments", counts),
        ("positions", padded),
        ("values in all fragments", [*counts, *size]),
    ):
        if prod(extents) > _INT64_MAX:
            raise ValueError(
                f"shape: {shape} with size {size} makes more {what} than 64 bits count"
            )
    key_value = "nan" if pad_value != pad_value else pad_value
    key = (shape, size, stride, edge, pad_mode, key_value, dilation, offset, padding)
    inner = None
    if any(offset) or any(map(any, padding)):
        inner = FragmentGrid.checked(tuple(padded), size, stride, edge, "constant", 0, dilation)
    object.__setattr__(grid, "offset", offset)
    object.__setattr__(grid, "padding", padding)
    object.__setattr__(grid, "inner", inner)
    object.__setattr__(grid, "shape", shape)
    object.__setattr__(grid, "size", size)
    object.__setattr__(grid, "stride", stride)
    object.__setattr__(grid, "dilation", dilation)
    object.__setattr__(grid, "edge", edge)
    object.__setattr__(grid, "pad_mode", pad_mode)
    object.__setattr__(grid, "pad_value", pad_value)
    object.__setattr__(grid, "counts", tuple(counts))
    object.__setattr__(grid, "n", prod(counts))
    object.__setattr__(grid, "padded_shape", tuple(padded))
    object.__setattr__(grid, "_key", key)
    object.__setattr__(grid, "_hash", hash(key))
    object.__setattr__(grid, "_plan", None)
    object.__setattr__(grid, "_cache", {})
    object.__setattr__(grid, "_starts", None)
    object.__setattr__(grid, "_uncovered", None)


def _columns(grid: FragmentGrid) -> tuple[Sequence[Any], ...]:
    rank = len(grid.shape)
    return grid.shape, grid.size, grid.stride, grid.dilation, grid.counts, (grid.edge,) * rank


def _starts_of(grid: FragmentGrid) -> tuple[NDArray[np.int64], ...]:
    if grid.inner is None:
        return tuple(map(axis_starts, *_columns(grid)))
    moved = [
        starts + first - before
        for starts, first, (before, _) in zip(
            grid.inner.starts, grid.offset, grid.padding, strict=True
        )
    ]
    for starts in moved:
        starts.flags.writeable = False
    return tuple(moved)
