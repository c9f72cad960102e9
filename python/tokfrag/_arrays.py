"""Two kinds of arrays, NumPy's and torch's, seen alike: types, numbers as bytes, fresh outputs.

torch is never imported here: if the caller holds a tensor, it is in ``sys.modules``.
"""

from __future__ import annotations

import operator
import sys
from math import prod
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from typing_extensions import TypeIs

ArrayT = TypeVar("ArrayT", "NDArray[Any]", "torch.Tensor")

#: The element types kernels compute with; a type's code (csrc/core/dtype.hpp) is its place here.
KERNEL_DTYPES = (
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
)
_HUGE_OUTPUT_BYTES = 1 << 20
_codes: dict[Any, int] = {}


def is_tensor(x: object) -> TypeIs[torch.Tensor]:
    """True for a torch tensor; false, without importing torch, where it was never imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def check_plain(x: object, name: str) -> None:
    """Refuses arrays that are more than their numbers: masked ones, tensors that are not dense."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name}: got a masked array, whose mask would be lost; takes plain arrays")
    if is_tensor(x) and (x.is_quantized or x.is_nested or str(x.layout) != "torch.strided"):
        kind = "a quantized" if x.is_quantized else f"a {x.layout}"
        kind = "a nested" if x.is_nested else kind
        raise TypeError(f"{name}: got {kind} tensor, takes dense ones")


def check_array(x: object, name: str) -> None:
    """Refuses what is neither a NumPy array nor a tensor, or not plain."""
    check_plain(x, name)
    if is_tensor(x):
        return
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{name}: got {type(x).__name__}, takes a NumPy array or a torch tensor")


def from_protocols(x: Any) -> Any:
    """What speaks DLPack or ``__array__`` as an array, or as a tensor where it lies on a device.

    Arrays and tensors, and all else, as they are; nothing is copied that need not be.
    """
    if isinstance(x, (np.ndarray, np.generic)) or is_tensor(x):
        return x
    if hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__"):
        if x.__dlpack_device__()[0] == 1:  # kDLCPU
            return np.from_dlpack(x)
        import torch

        return torch.utils.dlpack.from_dlpack(x)
    return np.asarray(x) if hasattr(x, "__array__") else x


def sliceable(x: Any) -> Any:
    """`x` if it slices (arrays, tensors, files); else by its protocols, see `from_protocols`."""
    return x if hasattr(x, "__getitem__") and hasattr(x, "shape") else from_protocols(x)


def dtype_name(dtype: Any) -> str:
    """``"float32"`` and the like, for either kind's type."""
    return str(dtype).removeprefix("torch.")


def native(dtype: Any) -> Any:
    """A type of either kind in this machine's byte order."""
    return dtype.newbyteorder("=") if isinstance(dtype, np.dtype) else dtype


def is_integer(dtype: Any) -> bool:
    """Whether a type of either kind, in any byte order, is one of integers (bool is none)."""
    return dtype.kind in "iu" if isinstance(dtype, np.dtype) else "int" in dtype_name(dtype)


def dtype_code(dtype: Any) -> int:
    """The kernels' code of a type of either kind; -1 if they do not compute with it."""
    code = _codes.get(dtype)
    if code is None:
        name = dtype_name(dtype)
        swapped = isinstance(dtype, np.dtype) and not dtype.isnative
        code = KERNEL_DTYPES.index(name) if name in KERNEL_DTYPES and not swapped else -1
        _codes[dtype] = code
    return code


def wider(dtype: Any) -> Any:
    """A type of the same kind that kernels know and that holds all of `dtype`, if they do not.

    uint16 is computed as int32, uint32 as float64, a foreign byte order as the native one. None:
    there is nothing to widen, or nothing wide enough.
    """
    if dtype_code(dtype) >= 0:
        return None
    name = dtype_name(dtype)
    if not isinstance(dtype, np.dtype):
        import torch

        return {"uint16": torch.int32, "uint32": torch.float64}.get(name)
    native = dtype.newbyteorder("=")
    if native.name in ("uint16", "uint32"):
        return np.dtype(np.int32 if native.name == "uint16" else np.float64)
    return None if dtype.isnative or native.name not in KERNEL_DTYPES else native


def summed_in(dtype: Any) -> Any:
    """A type of the same kind whose sums of `dtype` neither saturate nor are rounded early."""
    kind = dtype_name(native(dtype))
    if not is_integer(dtype) and kind not in ("float16", "bfloat16"):
        return dtype
    if isinstance(dtype, np.dtype):
        return np.dtype(np.float64)
    import torch

    return torch.float64


def converted(x: Any, dtype: Any) -> Any:
    """`x` in another type of its kind."""
    return x.to(dtype) if is_tensor(x) else x.astype(dtype)


def kernel_array(x: ArrayT) -> ArrayT:
    """`x` in a type that kernels know, where one holds all of its values; see `wider`."""
    wide = wider(x.dtype)
    made: ArrayT = x if wide is None else converted(x, wide)
    return made


def narrowed(x: Any, dtype: Any) -> Any:
    """`x` in a type that may hold less: for integers rounded half to even and saturated, NaN 0."""
    if not is_integer(dtype):
        return converted(x, dtype)
    limits = np.iinfo(dtype if isinstance(dtype, np.dtype) else dtype_name(dtype))
    made: Any
    if not is_tensor(x):
        if x.dtype.kind == "f":
            # The limits themselves may not be floats of x's type: what reaches them is set apart.
            whole = np.rint(x)
            low, high = whole <= limits.min, whole >= limits.max
            made = np.where(low | high | np.isnan(whole), 0, whole).astype(dtype)
            made[low], made[high] = limits.min, limits.max
            return made
        if x.dtype.kind in "iu" and x.dtype != dtype:
            own = np.iinfo(x.dtype)
            x = x.clip(max(limits.min, own.min), min(limits.max, own.max))
        return x.astype(dtype)
    import torch

    if x.is_floating_point():
        whole = x.round()
        low, high = whole <= limits.min, whole >= limits.max
        made = whole.masked_fill(low | high | whole.isnan(), 0).to(torch.int64)
        made = made.masked_fill(low, int(limits.min))
        return made.masked_fill(high, min(int(limits.max), 2**63 - 1)).to(dtype)
    if x.dtype != torch.bool:
        held = torch.iinfo(x.dtype)
        x = x.clamp(max(int(limits.min), held.min), min(int(limits.max), held.max))
    return x.to(dtype)


def sums_to_a_number(x: Any) -> bool:
    """Whether no NaN and no infinity can be in `x`: one pass, and no memory."""
    if is_tensor(x):
        return not x.is_floating_point() or bool(x.sum().isfinite())
    if x.dtype.kind != "f":
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(x.sum()))


def thread_count(threads: int | None) -> int:
    """`threads` as the kernels take it: 0 for the default."""
    if threads is None:
        return 0
    try:
        count = operator.index(threads)
    except TypeError:
        raise TypeError(f"threads: got {threads!r}, takes an integer or None") from None
    if not 1 <= count <= 2**31 - 1 or isinstance(threads, bool):
        raise ValueError(f"threads: got {threads!r}, takes an integer of at least 1, or None")
    return count


def number_bytes(value: complex, dtype: Any, name: str) -> bytes:
    """`value` as one number of `dtype` (either kind), refused if the type cannot hold it."""
    kind = dtype_name(native(dtype))
    own = isinstance(dtype, np.dtype)
    try:
        number: Any = value
        if "int" in kind or kind == "bool":
            number = int(number)  # complex raises, as it should
            limits = np.iinfo(dtype if own else kind) if kind != "bool" else None
            low, high = (0, 1) if limits is None else (limits.min, limits.max)
            if number != value or not low <= number <= high:
                raise ValueError
        with np.errstate(over="ignore"):
            if kind == "bfloat16":
                held = np.array([number], np.float32)
                if np.isfinite(number) and not np.isfinite(held[0]):
                    raise ValueError
                return _bfloat16_bytes(held)
            if not own and kind not in KERNEL_DTYPES and not hasattr(np, kind):
                return _torch_bytes(number, dtype)
            held = np.array([number], dtype if own else kind)
        if not own and np.isfinite(number) and not np.isfinite(held[0]):
            raise ValueError
        return held.tobytes()
    except (OverflowError, TypeError, ValueError):
        raise ValueError(f"{name}: got {value!r}, which {kind} cannot hold") from None


def _torch_bytes(number: complex, dtype: Any) -> bytes:
    """A number of a type that only torch has: floats of eight bits."""
    import torch

    if not dtype.is_floating_point or abs(number) > torch.finfo(dtype).max < np.inf != number:
        raise ValueError
    held = torch.tensor([number]).to(dtype)
    made: bytes = held.view(torch.uint8).numpy().tobytes()
    return made


def _bfloat16_bytes(numbers: NDArray[np.float32]) -> bytes:
    """The upper halves of float32 numbers, rounded half to even."""
    bits = numbers.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(numbers), 0x7FC0, rounded).astype(np.uint16).tobytes()


def empty_tensor(like: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """A fresh contiguous tensor of `like`'s type and device; when large, of reused memory."""
    size = prod(shape) * like.itemsize
    if size < _HUGE_OUTPUT_BYTES or not like.is_cpu:
        return like.new_empty(shape)
    import torch

    from tokfrag._core.fragments import empty_bytes

    return torch.from_numpy(empty_bytes(size)).view(like.dtype).view(shape)


def empty_array(dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """A fresh C-contiguous array; when large, of reused memory."""
    dtype = np.dtype(dtype)
    size = prod(shape) * dtype.itemsize
    if size < _HUGE_OUTPUT_BYTES or dtype.hasobject:
        return np.empty(shape, dtype)
    from tokfrag._core.fragments import empty_bytes

    made: NDArray[Any] = empty_bytes(size).view(dtype).reshape(shape)
    return made


def check_out(out: Any, x: Any, name: str, shape: tuple[int, ...]) -> None:
    """Refuses an `out` that is not a writable contiguous array of x's kind, of `shape`, apart."""
    tensor = is_tensor(x)
    if not (is_tensor(out) if tensor else isinstance(out, np.ndarray)):
        raise TypeError(
            f"out: got {type(out).__name__}, takes the kind of {name}: {type(x).__name__}"
        )
    if out.shape != shape:
        raise ValueError(f"out: got shape {tuple(out.shape)}, takes {shape}")
    if out.dtype != x.dtype:
        raise TypeError(f"out: got {dtype_name(out.dtype)}, takes {name}'s {dtype_name(x.dtype)}")
    if tensor:
        if out.device != x.device:
            raise ValueError(
                f"out: got a tensor on {out.device}, takes {name}'s device, {x.device}"
            )
        contiguous = out.is_contiguous()
    else:
        flags = out.flags
        if not flags.writeable:
            raise ValueError("out: got a read-only array, takes a writable one")
        contiguous = flags.c_contiguous and flags.aligned
    if not contiguous:
        raise ValueError("out: got a strided or unaligned array, takes a C-contiguous one")
    if _bounds_overlap(out, x):
        raise ValueError(f"out: shares memory with {name}, takes an array apart from it")


def refuse_out(out: Any, x: Any, name: str, shape: tuple[int, ...]) -> NoReturn:
    """Says what is wrong with an `out` that a kernel did not take."""
    check_out(out, x, name, shape)
    raise ValueError(f"out: got {type(out).__name__}, takes an array like {name}, apart from it")


def check_apart(out: Any, other: Any, name: str) -> None:
    """Refuses an `out` that lies over another array or CPU tensor; what is neither is copied."""
    if not isinstance(other, np.ndarray) and not (is_tensor(other) and other.is_cpu):
        return
    if is_tensor(out) and not out.is_cpu:
        return
    (begin, end), (first, last) = bounds(out), bounds(other)
    if begin < last and first < end:
        raise ValueError(f"out: shares memory with {name}, takes an array apart from it")


def _bounds_overlap(a: Any, b: Any) -> bool:
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(a, torch.Tensor):
        return bool(np.may_share_memory(a, b))
    if torch.compiler.is_compiling():
        return False  # traced tensors have no address; the compiler knows which are aliases
    if not (a.is_cpu or a.is_cuda):
        return False
    (a_begin, a_end), (b_begin, b_end) = bounds(a), bounds(b)
    return a_begin < b_end and b_begin < a_end


def bounds(x: Any) -> tuple[int, int]:
    """The addresses between which an array's numbers lie."""
    if is_tensor(x):
        begin = x.data_ptr()
        if x.is_contiguous():
            return begin, begin + x.nbytes
        steps = [step * x.itemsize for step in x.stride()]
    else:
        begin, steps = x.ctypes.data, x.strides
    if 0 in x.shape:
        return begin, begin
    reaches = [(n - 1) * step for n, step in zip(x.shape, steps, strict=True)]
    return begin + sum(min(r, 0) for r in reaches), begin + sum(max(r, 0) for r in reaches) + (
        x.itemsize
    )
