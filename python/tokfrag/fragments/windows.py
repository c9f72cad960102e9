"""The weights of a merge: named windows, vectors an axis, arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.grid import FragmentGrid

if TYPE_CHECKING:
    import torch

Reduce: TypeAlias = Literal["mean", "sum", "max", "min", "vote", "median"]
WindowName: TypeAlias = Literal["uniform", "hann", "gaussian", "triangular"]
Window: TypeAlias = (
    "WindowName | Sequence[NDArray[Any] | torch.Tensor | Sequence[float]] | NDArray[Any]"
    " | torch.Tensor"
)
#: The first window of a part of a grid, how many, and the first position (from the part's own
#: first) that no other window holds; an axis each.
Part: TypeAlias = "tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]"

#: What the kernels merge by; the others take all values of a position at once.
REDUCES: tuple[Reduce, ...] = ("mean", "sum", "max")
ALL_REDUCES: tuple[Reduce, ...] = (*REDUCES, "min", "vote", "median")
WINDOW_NAMES: tuple[WindowName, ...] = ("uniform", "hann", "gaussian", "triangular")
SUMMED = ("uint8", "int8", "int16", "int32", "float16", "bfloat16", "float32", "float64")


class Weights(NamedTuple):
    """A window as checked float64 numbers: one vector an axis (None: ones), or an array."""

    vectors: tuple[NDArray[np.float64] | None, ...]
    array: NDArray[np.float64] | None  # of shape size, or (n, *size); the vectors are then None

    @property
    def per_fragment(self) -> bool:
        """Whether every fragment has weights of its own."""
        return self.array is not None and self.array.ndim > len(self.vectors)

    @property
    def hold_zeros(self) -> bool:
        """Whether a weight is 0: what lies under it is left out, even if it is not a number."""
        if self.array is not None:
            return not self.array.all()
        return any(vector is not None and not vector.all() for vector in self.vectors)

    def dense(self, size: tuple[int, ...]) -> NDArray[np.float64]:
        """The weights as one array, of shape `size` or (n, *size)."""
        if self.array is not None:
            return self.array
        axes = zip(self.vectors, size, strict=True)
        return outer([np.ones(w) if vector is None else vector for vector, w in axes])


def axis_window(name: WindowName, size: int) -> NDArray[np.float64]:
    """The `size` weights of a named window on one axis."""
    position = np.arange(1, size + 1, dtype=np.float64) / (size + 1)
    if name == "hann":
        return np.sin(np.pi * position) ** 2
    if name == "triangular":
        return 1 - np.abs(2 * position - 1)
    if name == "gaussian":
        distance = (np.arange(size, dtype=np.float64) - (size - 1) / 2) / (size / 8)
        return np.maximum(np.exp(-0.5 * distance**2), 1e-3)
    return np.ones(size)


def window_weights(grid: FragmentGrid, window: Window) -> Weights:
    """A window as checked numbers: one vector an axis (None: ones), or whole-window weights."""
    rank = len(grid.size)
    none: tuple[NDArray[np.float64] | None, ...] = (None,) * rank
    if isinstance(window, str):
        if window not in WINDOW_NAMES:
            names = ", ".join(map(repr, WINDOW_NAMES))
            raise ValueError(f"window: got {window!r}, takes {names}, vectors, or an array")
        if window == "uniform":
            return Weights(none, None)
        return Weights(tuple(axis_window(window, size) for size in grid.size), None)
    if isinstance(window, (list, tuple)):
        if len(window) != rank:
            raise ValueError(f"window: got {len(window)} vectors, takes one an axis, {rank}")
        vectors: list[NDArray[np.float64] | None] = []
        for axis, size in enumerate(grid.size):
            vector = numbers(window[axis])
            if vector.shape != (size,):
                raise ValueError(
                    f"window: got weights of shape {vector.shape} for axis {axis}, takes ({size},)"
                )
            vectors.append(vector)
        return Weights(tuple(vectors), None)
    whole = numbers(window)
    if whole.shape == (grid.n, *(1,) * rank) and whole.shape != (grid.n, *grid.size):
        whole = np.broadcast_to(whole, (grid.n, *grid.size))
    if whole.shape not in (grid.size, (grid.n, *grid.size)):
        raise ValueError(
            f"window: got an array of shape {whole.shape}, takes {grid.size}, "
            f"{(grid.n, *grid.size)} or {(grid.n, *(1,) * rank)}"
        )
    return Weights(none, whole)


def outer(vectors: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The product of one vector an axis."""
    product: NDArray[Any] = np.ones(())
    for vector in vectors:
        product = product[..., None] * vector
    return product


def axis_sums(
    grid: FragmentGrid, axis: int, vector: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """The sum of an axis' weights over each of its positions."""
    sums = np.zeros(grid.padded_shape[axis])
    for tap in range(grid.size[axis]):  # a window holds a position at most once
        at = grid.starts[axis] + grid.dilation[axis] * tap
        sums[at] += 1 if vector is None else vector[tap]
    return sums[: grid.shape[axis]]


def numbers(weights: Any) -> NDArray[np.float64]:
    """Weights as checked float64 numbers."""
    weights = _arrays.from_protocols(weights)
    _arrays.check_plain(weights, "window")
    if _arrays.is_tensor(weights):
        if weights.requires_grad:
            raise ValueError("window: gradients do not flow into weights, detach them")
        weights = weights.detach().cpu().double().numpy()
    try:
        if np.iscomplexobj(weights) or weights is None:
            raise TypeError
        checked = np.ascontiguousarray(weights, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"window: got {type(weights).__name__}, takes numbers") from None
    # A sum says so in one pass; only where it does not come out are the numbers looked at.
    with np.errstate(over="ignore", invalid="ignore"):
        total = checked.sum()
    if not np.isfinite(total) and not np.isfinite(checked).all():
        raise ValueError("window: got weights that are infinite or not a number, takes finite ones")
    return checked
