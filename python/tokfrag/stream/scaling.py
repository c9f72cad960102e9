"""How each value of an image is scaled: a formula, and the numbers of each channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag._arrays import dtype_code
from tokfrag._core import stream as _native
from tokfrag.stream.layouts import Layout

#: A formula's number is its place (csrc/stream/patches.hpp).
FORMULAS = ("linear", "divide", "shares", "table")


@dataclass(frozen=True)
class Scaling:
    """A formula in float32, each step rounded.

    ``linear``: ``x * scale + shift``. ``divide``: ``(x - shift) / scale``. ``shares``:
    ``(x / 255 - shift) / scale``.
    """

    formula: str
    scale: tuple[float, ...]
    shift: tuple[float, ...]

    @property
    def plain(self) -> bool:
        """Whether values stay as they are."""
        return self.formula == "linear" and set(self.scale) == {1.0} and set(self.shift) == {0.0}

    def numbers(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give scale and shift as the kernel takes them: (channels,) each."""
        return np.array(self.scale, np.float32), np.array(self.shift, np.float32)

    def apply(self, x: Any) -> Any:
        """Compute the values of a float32 array or tensor whose channels come last."""
        scale, shift = (v if isinstance(x, np.ndarray) else x.new_tensor(v) for v in self.numbers())
        if self.formula == "linear":
            return x * scale + shift
        if self.formula == "shares":
            x = x / 255
        return (x - shift) / scale

    def undo(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Compute what values were before, in float64; channels come last."""
        scale, shift = (np.array(v, np.float64) for v in (self.scale, self.shift))
        x = x.astype(np.float64)
        if self.formula == "linear":
            return (x - shift) / scale
        x = x * scale + shift
        return x * 255 if self.formula == "shares" else x

    @lru_cache(maxsize=64)  # noqa: B019 (frozen values: equal ones share an entry)
    def table(self, dtype: str = "float32") -> NDArray[Any]:
        """Give the value of each byte in each channel: (channels, 256); bfloat16 as its bits."""
        byte = np.broadcast_to(np.arange(256, dtype=np.float32)[:, None], (256, len(self.scale)))
        return narrowed(np.ascontiguousarray(self.apply(byte).T), dtype)


def scaling_of(layout: Layout, scale: Any, shift: Any) -> Scaling:
    """Take what the caller gave; where that is nothing, the layout's normalisation."""
    if scale is None and shift is None:
        if layout.formula == "stepwise":
            return Scaling("shares", layout.std, layout.mean)
        # As torch computes them: from float32, times the float 1 / (1 / 255).
        factor = np.float32(1.0 / (1 / 255))
        std, mean = (np.array(v, np.float32) * factor for v in (layout.std, layout.mean))
        return Scaling("divide", tuple(std.tolist()), tuple(mean.tolist()))
    return Scaling(
        "linear",
        _numbers("scale", 1.0 if scale is None else scale, layout.channels),
        _numbers("shift", 0.0 if shift is None else shift, layout.channels),
    )


def _numbers(
    name: str, given: float | Sequence[float] | NDArray[Any], channels: int
) -> tuple[float, ...]:
    try:
        value = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        value = np.full((), np.nan)
    if value.shape not in ((), (1,), (channels,)) or not np.isfinite(value).all():
        raise ValueError(
            f"{name}: got {given!r}, takes a finite number or {channels}, one a channel"
        )
    made: list[float] = np.broadcast_to(value, channels).tolist()
    return tuple(made)


@lru_cache(maxsize=256)
def computes_exactly(scaling: Scaling) -> bool:
    """Whether the kernel's lanes, which fuse multiply-adds, give the table for all 256 bytes."""
    channels = len(scaling.scale)
    bytes_ = np.repeat(np.arange(256, dtype=np.uint8)[:, None], channels, axis=1)
    made = np.empty((channels, 256), np.float32)
    scale, shift = scaling.numbers()
    _native.patchify(
        dtype_code(bytes_.dtype),
        dtype_code(made.dtype),
        [(bytes_.ctypes.data, 0, 0, channels, 1, 1, 1, 1, 1)],
        (1, 1, 256, channels, 1),
        (0, 0, 1, 256),
        FORMULAS.index(scaling.formula),
        0,
        scale.ctypes.data,
        shift.ctypes.data,
        made.ctypes.data,
        1,
    )
    return np.array_equal(made, scaling.table())


def narrowed(values: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """Round float32 values to another type; bfloat16 as its bits."""
    if dtype == "bfloat16":
        import torch

        return torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy()
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype)
