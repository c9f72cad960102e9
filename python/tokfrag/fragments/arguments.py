"""What a grid is made of, checked: sizes, strides, edges, offsets, padding."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from tokfrag.fragments.axes import EDGES, PAD_MODES, Edge, PadMode

PerAxis: TypeAlias = "int | Sequence[int]"
Padding: TypeAlias = "int | Sequence[int | tuple[int, int]]"
Spec: TypeAlias = "tuple[tuple[int, ...], tuple[int, ...], Edge, PadMode, Any, tuple[int, ...]]"

MAX_AXES = 4
_INT64_MAX = 2**63 - 1


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


def placement(
    shape: tuple[int, ...], offset: PerAxis, padding: Padding
) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """An offset and a padding, checked: one integer, and one pair, an axis."""
    rank = len(shape)
    offsets = integers(offset, "offset", least=0)
    offsets = offsets * rank if not isinstance(offset, (tuple, list)) else offsets
    pairs: list[tuple[int, ...]] = []
    for width in padding if isinstance(padding, (tuple, list)) else [padding] * rank:
        pair = integers(width, "padding", least=0)
        pairs.append(pair * 2 if len(pair) == 1 else pair)
    if len(offsets) != rank or len(pairs) != rank or any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            f"offset, padding: got {offset!r}, {padding!r}, takes one for all, or one an axis, "
            f"for {rank} axes"
        )
    if any(first >= length > 0 for first, length in zip(offsets, shape, strict=True)):
        raise ValueError(f"offset: got {offset!r}, takes positions on the axes, {shape}")
    return offsets, tuple((before, after) for before, after in pairs)


def placed_lengths(
    shape: tuple[int, ...], offset: tuple[int, ...], padding: tuple[tuple[int, int], ...]
) -> tuple[int, ...]:
    """The lengths over which windows go: from the offset on, with the padding."""
    return tuple(
        length - first + before + after if length else 0
        for length, first, (before, after) in zip(shape, offset, padding, strict=True)
    )


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


def one_integer(value: Any, name: str, *, least: int | None = None) -> int:
    """An integer, of at least `least`."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: got {value!r}, takes an integer") from None
    if least is not None and number < least:
        raise ValueError(f"{name}: got {number}, takes {least} or more")
    return number


def integers(value: Any, name: str, *, least: int) -> tuple[int, ...]:
    """One integer, or several, of at least `least`."""
    items: Sequence[Any]
    try:
        items = (operator.index(value),) if not isinstance(value, bool) else (value,)
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
    numbers = integers(value, name, least=1)
    if len(numbers) == 1 and not isinstance(value, (tuple, list)):
        return numbers * rank
    if len(numbers) != rank:
        raise ValueError(
            f"{name}: got {len(numbers)} values, {numbers}, for {rank} space-time axes; "
            "takes one integer, or one an axis"
        )
    return numbers
