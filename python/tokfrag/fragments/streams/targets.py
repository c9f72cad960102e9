"""What results are written to: arrays, tensors, memory maps, files; checked before a model runs."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from tokfrag import _arrays

_WORK = 1 << 16  # beyond that, whether arrays share a number takes too long to tell


def check_target(out: Any, x: Any) -> None:
    """Refuse an `out` that results of `x` cannot be written to, or that lies over `x`."""
    if not all(hasattr(out, name) for name in ("shape", "dtype", "__setitem__")):
        raise TypeError(f"out: got {type(out).__name__}, takes an array to write to")
    _arrays.check_plain(out, "out")
    if isinstance(out, np.ndarray) and not out.flags.writeable:
        raise ValueError("out: got a read-only array, takes a writable one")
    if _arrays.is_tensor(out):
        if out.requires_grad:
            raise ValueError("out: got a tensor that requires a gradient, which would be lost")
        if out.is_meta and not (_arrays.is_tensor(x) and x.is_meta):
            raise ValueError("out: got a tensor on meta, which holds no numbers")
    if _share_memory(out, x):
        raise ValueError("out: shares memory with x, takes an array apart from it")


def put(slab: Any, target: Any, place: tuple[slice, ...]) -> None:
    """Write a slab in the type of the target: integers rounded and saturated."""
    dtype = target.dtype
    if slab.dtype != dtype and _arrays.is_integer(dtype):
        slab = _arrays.narrowed(slab, dtype)
    elif _arrays.dtype_name(dtype) == "bool" and _arrays.dtype_name(slab.dtype) != "bool":
        raise TypeError(
            f"out: got bool for results of {_arrays.dtype_name(slab.dtype)}, takes numbers "
            "(reduce_slab= may make booleans)"
        )
    target[place] = slab


def _share_memory(out: Any, x: Any) -> bool:
    """Whether a number of one is a number of the other, in this machine's memory."""
    if not (_is_memory(out) and _is_memory(x)):
        return False
    (first, last), (begin, end) = _arrays.bounds(out), _arrays.bounds(x)
    if last <= begin or end <= first:
        return False
    try:
        return np.shares_memory(_as_array(out), _as_array(x), max_work=_WORK)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _is_memory(x: Any) -> bool:
    return isinstance(x, np.ndarray) or (_arrays.is_tensor(x) and x.is_cpu)


def _as_array(x: Any) -> Any:
    """The places of an array's numbers, if not the numbers themselves."""
    if not _arrays.is_tensor(x):
        return x
    strides = [step * x.itemsize for step in x.stride()]
    begin, end = _arrays.bounds(x)
    held: Any = (ctypes.c_char * (end - begin)).from_address(begin)
    return np.ndarray(tuple(x.shape), f"V{x.itemsize}", held, 0, strides)
