"""Where fragments lie: sizes, strides, edges."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag.fragments.axes import (
    EDGES,
    PAD_MODES,
    Edge,
    PadMode,
    axis_count,
    axis_covered,
    axis_starts,
    source_positions,
)

if TYPE_CHECKING:
    from tokfrag._core.fragments import GridPlan

PerAxis: TypeAlias = "int | Sequence[int]"

MAX_AXES = 4
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
        As in ``torch.nn.functional.pad``, at any distance; "reflect" does not repeat the last
        position.
    pad_value : bool, int, float or complex
        Fills what lies beyond the axis under "constant".

    Raises
    ------
    ValueError
        Lengths, sizes, strides or dilations are out of range or of another rank than `shape`; a
        window is longer than its axis with ``"drop"`` or ``"shift"``.
    TypeError
        A value is not an integer.

    Examples
    --------
    >>> from tokfrag import FragmentGrid
    >>> grid = FragmentGrid((10,), size=4, stride=3, edge="shift")
    >>> grid.counts, grid.origins[:, 0].tolist()
    ((3,), [0, 3, 6])
    >>> grid.coverage().tolist()
    [1, 1, 1, 2, 1, 1, 2, 1, 1, 1]
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
        "n",
        "pad_mode",
        "pad_value",
        "padded_shape",
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
    ) -> None:
        lengths = _integers(shape, "shape", least=0)
        rank = len(lengths)
        if not 1 <= rank <= MAX_AXES:
            raise ValueError(f"shape: got {rank} space-time axes, takes 1 to {MAX_AXES}")
        spec = window_spec(rank, size, stride, edge, pad_mode, pad_value, dilation)
        _fill(self, lengths, *spec)
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
    ) -> FragmentGrid:
        """The grid over the space-time axes of `x`.

        Parameters
        ----------
        x : (batch, channels, *space_time) array or tensor
            Only its shape is read.
        channels_last : bool
            Whether `x` is ``(batch, *space_time, channels)``.
        size, stride, edge, pad_mode, pad_value, dilation
            As in :class:`FragmentGrid`.

        Returns
        -------
        FragmentGrid

        Examples
        --------
        >>> import numpy as np
        >>> from tokfrag import FragmentGrid
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
    ) -> FragmentGrid:
        """A grid from arguments a grid has had before, so that its warning is not given twice.

        Parameters
        ----------
        shape, size, stride, edge, pad_mode, pad_value, dilation
            As the attributes of a grid hold them: one integer an axis.

        Returns
        -------
        FragmentGrid
        """
        grid = cls.__new__(cls)
        _fill(grid, shape, size, stride, edge, pad_mode, pad_value, dilation)
        return grid

    @property
    def starts(self) -> tuple[NDArray[np.int64], ...]:
        """The windows' first positions on each axis: `counts` integers an axis, ascending."""
        if self._starts is None:
            object.__setattr__(self, "_starts", tuple(map(axis_starts, *_columns(self))))
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
        covered = []
        for length, size, dilation, starts in zip(
            self.shape, self.size, self.dilation, self.starts, strict=True
        ):
            counts = np.zeros(length, np.int64)
            for start_of_tap in range(0, size * dilation, dilation):
                held = starts + start_of_tap
                counts[held[held < length]] += 1  # a window holds a position at most once
            covered.append(counts)
        return covered

    @property
    def uncovered(self) -> int:
        """How many positions no fragment holds."""
        if self._uncovered is None:
            if all(c == 1 for c in self.dilation):
                covered = prod(map(axis_covered, *_columns(self)))
            else:
                covered = prod(int(np.count_nonzero(c)) for c in self.axis_coverage())
            object.__setattr__(self, "_uncovered", prod(self.shape) - covered)
        assert self._uncovered is not None
        return self._uncovered

    @property
    def plan(self) -> GridPlan:
        """The native kernels' tables for this grid, made on first use."""
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
        return FragmentGrid.checked, (self.shape, *spec)

    def __repr__(self) -> str:
        text = f"FragmentGrid({self.shape}, size={self.size}, stride={self.stride}"
        text += f", edge={self.edge!r}"
        if self.edge == "pad":
            text += f", pad_mode={self.pad_mode!r}"
            if self.pad_mode == "constant" and self.pad_value != 0:
                text += f", pad_value={self.pad_value}"
        if any(step != 1 for step in self.dilation):
            text += f", dilation={self.dilation}"
        return text + ")"


Spec: TypeAlias = "tuple[tuple[int, ...], tuple[int, ...], Edge, PadMode, Any, tuple[int, ...]]"


def window_spec(
    rank: int,
    size: PerAxis,
    stride: PerAxis | None,
    edge: Edge,
    pad_mode: PadMode,
    pad_value: bool | int | float | complex,
    dilation: PerAxis,
) -> Spec:
    """The arguments of a grid of `rank` axes, checked, in the order of `FragmentGrid.checked`."""
    sizes = _per_axis(size, "size", rank)
    strides = sizes if stride is None else _per_axis(stride, "stride", rank)
    dilations = _per_axis(dilation, "dilation", rank)
    if edge not in EDGES:
        raise ValueError(f"edge: got {edge!r}, takes 'pad', 'drop' or 'shift'")
    if pad_mode not in PAD_MODES:
        raise ValueError(
            f"pad_mode: got {pad_mode!r}, takes 'constant', 'reflect', 'replicate' or 'circular'"
        )
    if isinstance(pad_value, np.generic):
        pad_value = pad_value.item()
    if not isinstance(pad_value, (bool, int, float, complex)):
        raise TypeError(f"pad_value: got {type(pad_value).__name__}, takes a number")
    return sizes, strides, edge, pad_mode, pad_value, dilations


def space_time_shape(shape: Sequence[int], channels_last: bool) -> tuple[int, ...]:
    """The space-time part of an array's shape."""
    if not 3 <= len(shape) <= 2 + MAX_AXES:
        layout = (
            "(batch, *space_time, channels)" if channels_last else "(batch, channels, *space_time)"
        )
        raise ValueError(
            f"x: got shape {tuple(shape)}, takes {layout} with 1 to {MAX_AXES} space-time axes"
        )
    return tuple(shape[1:-1] if channels_last else shape[2:])


def source_table(grid: FragmentGrid, axis: int) -> NDArray[np.int64]:
    """For each padded position of an axis, the position it is read from; -1 for the pad value."""
    return source_positions(grid.shape[axis], grid.padded_shape[axis], grid.pad_mode)


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
) -> None:
    counts, padded = [], []
    for axis, (length, w, s, step) in enumerate(zip(shape, size, stride, dilation, strict=True)):
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
    key = (shape, size, stride, edge, pad_mode, key_value, dilation)
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


def _integers(value: PerAxis, name: str, *, least: int) -> tuple[int, ...]:
    items: Sequence[Any]
    try:
        items = (operator.index(value),) if not isinstance(value, bool) else (value,)  # type: ignore[arg-type]
    except TypeError:
        items = () if isinstance(value, (str, bytes)) else _listed(value)
        if not items:
            raise TypeError(f"{name}: got {value!r}, takes one integer or several") from None
    if any(isinstance(item, (bool, np.bool_)) for item in items):
        raise TypeError(f"{name}: got {value!r}, takes integers, not booleans")
    try:
        numbers = tuple(operator.index(item) for item in items)
    except TypeError:
        raise TypeError(f"{name}: got {value!r}, takes integers") from None
    if not all(least <= number <= _INT64_MAX for number in numbers):
        raise ValueError(f"{name}: got {value!r}, takes integers of at least {least}")
    return numbers


def _listed(value: Any) -> list[Any]:
    try:
        return list(value)
    except TypeError:
        return []


def _per_axis(value: PerAxis, name: str, rank: int) -> tuple[int, ...]:
    numbers = _integers(value, name, least=1)
    if len(numbers) == 1 and not isinstance(value, (tuple, list)):
        return numbers * rank
    if len(numbers) != rank:
        raise ValueError(
            f"{name}: got {len(numbers)} values, {numbers}, for {rank} space-time axes; "
            "takes one integer, or one an axis"
        )
    return numbers
