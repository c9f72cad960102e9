"""What extract changes numbers to on their way: another type, a scale and a shift a channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.grid import FragmentGrid

if TYPE_CHECKING:
    import torch

PerChannel: TypeAlias = "float | Sequence[float] | NDArray[Any] | torch.Tensor"

_WIDE = {"int32", "uint32", "int64", "uint64", "float64"}  # computed in float64
_MADE = {"uint8", "int8", "int16", "int32", "float16", "bfloat16", "float32", "float64"}
_HALVES = {"float16", "bfloat16"}
_READ_ON_DEVICE = {"uint8", "int16", "float16", "bfloat16", "float32"}
_MADE_ON_DEVICE = {"float16", "bfloat16", "float32"}
_MOST_ON_DEVICE = 64  # channels with numbers of their own
_NARROW = 1 << 30  # bytes that the kernel's 32-bit numbers count, padding and all


@dataclass(frozen=True, eq=False)
class Change:
    """One change of numbers; `scale` and `shift` as float64, one or one a channel, or None."""

    scale: NDArray[np.float64] | None
    shift: NDArray[np.float64] | None
    kind: str  # of the numbers before
    empty: Any  # without numbers, of the result's type and kind

    def is_native(self, x: Any) -> bool:
        """Whether the kernel makes the very bits that :meth:`apply` does, and can reach `x`."""
        kind = _arrays.dtype_name(self.empty.dtype)
        wide = self.kind in _WIDE
        if _arrays.dtype_code(x.dtype) < 0 or _arrays.dtype_code(self.empty.dtype) < 0:
            return False
        if kind not in _MADE or (wide and kind in _HALVES):
            return False  # rounded twice
        if self.kind == "int64" and self.scale is None and self.shift is None:
            return False  # float64 does not hold them all
        return not _arrays.is_tensor(x) or (bool(x.is_cpu) and _is_unwatched(x))

    def suits_device(self, x: Any, shape: tuple[int, ...]) -> bool:
        """Whether the CUDA kernel makes these bits too; `shape` is that of the fragments."""
        if not _arrays.is_tensor(x) or not x.is_cuda:
            return False
        channels = max(len(n) for n in (self.scale, self.shift, (1,)) if n is not None)
        return (
            self.kind in _READ_ON_DEVICE
            and _arrays.dtype_name(self.empty.dtype) in _MADE_ON_DEVICE
            and channels <= _MOST_ON_DEVICE
            and max(_reach(x), prod(shape)) * int(x.itemsize) < _NARROW
            and _is_unwatched(x)
        )

    def extract(
        self,
        x: Any,
        grid: FragmentGrid,
        channels_last: bool,
        shape: tuple[int, ...],
        out: Any,
        threads: int,
    ) -> Any:
        """Cut and change in one pass."""
        from tokfrag._core.fragments import extract_converted

        item = x.itemsize
        strides = [s * item for s in x.stride()] if _arrays.is_tensor(x) else list(x.strides)
        if any(stride % item for stride in strides):
            x = np.ascontiguousarray(x)
            strides = list(x.strides)
        pad = grid.pad_value if grid.padded_shape != grid.shape else 0
        if out is None:
            tensor = _arrays.is_tensor(x)
            make = _arrays.empty_tensor if tensor else _arrays.empty_array
            out = make(self.empty if tensor else self.empty.dtype, shape)
        extract_converted(
            grid.plan,
            x.data_ptr() if _arrays.is_tensor(x) else x.ctypes.data,
            tuple(x.shape),
            tuple(strides),
            _arrays.dtype_code(x.dtype),
            item,
            _arrays.dtype_code(self.empty.dtype),
            out.itemsize,
            channels_last,
            _arrays.number_bytes(pad, x.dtype, "pad_value"),
            [] if self.scale is None else self.scale.tolist(),
            [] if self.shift is None else self.shift.tolist(),
            out.data_ptr() if _arrays.is_tensor(out) else out.ctypes.data,
            threads,
        )
        return out

    def apply(self, fragments: Any, channels_last: bool) -> Any:
        """Change fragments by their library's own operators; gradients flow through."""
        tensors = _arrays.is_tensor(fragments)
        made: Any = fragments
        if self.scale is not None or self.shift is not None:
            made = _as_float(fragments, self.kind in _WIDE)
        axis = fragments.ndim - 1 if channels_last else 2
        for what, numbers in (("scale", self.scale), ("shift", self.shift)):
            if numbers is None:
                continue
            shaped: Any = numbers.reshape(-1, *(1,) * (fragments.ndim - axis - 1))
            if tensors:
                import torch

                shaped = torch.from_numpy(shaped).to(made)
            else:
                shaped = shaped.astype(made.dtype)
            made = made * shaped if what == "scale" else made + shaped
        return _arrays.narrowed(made, self.empty.dtype)


def _is_unwatched(x: torch.Tensor) -> bool:
    """Whether nothing but the kernel would see a call on a tensor."""
    import torch

    from tokfrag._operators import is_memory, nobody_watches

    watched = x.requires_grad and torch.is_grad_enabled()
    return nobody_watches() and not watched and is_memory(x)


def _reach(x: torch.Tensor) -> int:
    """Numbers from the first to the last of a tensor's in memory."""
    return sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True)) + 1


def change_of(
    x: Any,
    scale: PerChannel | None,
    shift: PerChannel | None,
    dtype: Any,
    channels_last: bool,
) -> Change | None:
    """What a call's arguments ask for; None where they leave everything as it is.

    Raises
    ------
    TypeError, ValueError
        Complex numbers; a type of the other library; scales that are not one a channel.
    """
    kind = _arrays.dtype_name(x.dtype.newbyteorder("=") if isinstance(x, np.ndarray) else x.dtype)
    if "complex" in kind:
        raise TypeError(f"x: got {kind}, takes real numbers with scale, shift and dtype")
    tensor = _arrays.is_tensor(x)
    if dtype is not None:
        if tensor and not hasattr(dtype, "is_floating_point"):
            raise TypeError(f"dtype: got {dtype!r}, takes a torch dtype for a tensor")
        dtype = dtype if tensor else np.dtype(dtype)
        if dtype == x.dtype and scale is None and shift is None:
            return None
    channels = int(x.shape[-1 if channels_last else 1]) if x.ndim > 1 else 0
    factors = None if scale is None else _channel_numbers(scale, "scale", channels)
    terms = None if shift is None else _channel_numbers(shift, "shift", channels)
    empty: Any
    if tensor:
        import torch

        made = dtype or (x.dtype if x.is_floating_point() else torch.float32)
        empty = torch.empty(0, dtype=made, device=x.device)
    else:
        empty = np.empty(0, dtype or (x.dtype if x.dtype.kind == "f" else np.float32))
    return Change(factors, terms, kind, empty)


def _as_float(fragments: Any, wide: bool) -> Any:
    if _arrays.is_tensor(fragments):
        return fragments.double() if wide else fragments.float()
    return fragments.astype(np.float64 if wide else np.float32)


def _channel_numbers(value: Any, name: str, channels: int) -> NDArray[np.float64]:
    """One number, or one a channel, as float64."""
    if _arrays.is_tensor(value):
        value = value.detach().cpu().numpy()
    try:
        numbers = np.array(value, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: got {value!r}, takes numbers") from None
    if numbers.ndim > 1 or (numbers.ndim == 1 and len(numbers) != channels):
        raise ValueError(
            f"{name}: got shape {numbers.shape}, takes one number or {channels}, one a channel"
        )
    return numbers.reshape(-1)
