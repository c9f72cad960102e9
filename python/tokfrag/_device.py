"""Whether the CUDA kernels run on a device, and where a call's work goes.

The kernels are in ``tokfrag._cuda``, which is there where tokfrag was built with nvcc. It is first
touched when the first CUDA tensor comes, never at import: that would start the driver, and break
data loaders that fork. Where it is missing or cannot run (an older driver, a device it was not
compiled for), `kernels` says so once a device, and the same work is done by torch's operators.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from types import ModuleType, TracebackType

# What no later call will find mended. Others (memory that has run out, an earlier kernel that
# failed) say nothing of these kernels: they are raised.
_LASTING = (
    "cudaErrorCompatNotSupportedOnDevice",
    "cudaErrorInsufficientDriver",
    "cudaErrorInvalidDevice",
    "cudaErrorInvalidDeviceFunction",
    "cudaErrorInvalidKernelImage",
    "cudaErrorInvalidPtx",
    "cudaErrorJitCompilationDisabled",
    "cudaErrorJitCompilerNotFound",
    "cudaErrorNoDevice",
    "cudaErrorNoKernelImageForDevice",
    "cudaErrorStubLibrary",
    "cudaErrorSystemDriverMismatch",
    "cudaErrorUnsupportedPtxVersion",
)

_is_initialized: Callable[[], bool] = torch.cuda.is_initialized
_found: dict[int, ModuleType | None] = {}
_slow: dict[int, bool] = {}


def kernels(device: int) -> ModuleType | None:
    """``tokfrag._cuda`` if it runs on this device; else None, after one warning."""
    try:
        return _found[device]
    except KeyError:
        pass
    module, reason = _look(device)
    _found[device] = module
    if module is None:
        warnings.warn(
            f"tokfrag: what is on cuda:{device} is done by torch's operators, more slowly, for "
            f"tokfrag's CUDA kernels cannot run here ({reason})",
            RuntimeWarning,
            stacklevel=3,
        )
    return module


def _look(device: int) -> tuple[ModuleType | None, str]:
    try:
        import tokfrag._cuda as module
    except ImportError as missing:
        return None, str(missing)
    try:
        with _OnDevice(device):
            module.check_device(device)
    except RuntimeError as failed:
        if not any(f"{name} (" in str(failed) or str(failed).endswith(name) for name in _LASTING):
            raise
        return None, str(failed)
    return module, ""


class _OnDevice:
    """Torch's current device for a while; nothing is asked of the driver if it is that already.

    The kernels set and restore the device for their copy of the CUDA runtime. Torch's knows which
    devices have a context, and makes none on a device that was only named.
    """

    __slots__ = ("_device", "_guard")

    def __init__(self, device: int) -> None:
        self._device = device
        self._guard: Any = None

    def __enter__(self) -> None:
        if _is_initialized() and torch.cuda.current_device() != self._device:
            self._guard = torch.cuda.device(self._device)
            self._guard.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._guard is not None:
            self._guard.__exit__(kind, error, trace)


class launch(_OnDevice):
    """For the calls of kernels on the data of `x`: ``with launch(x) as (device, stream):``."""

    __slots__ = ()

    def __init__(self, x: Tensor) -> None:
        super().__init__(x.device.index)

    def __enter__(self) -> tuple[int, int]:  # type: ignore[override]
        super().__enter__()
        return self._device, current_stream(self._device)


def current_stream(device: int) -> int:
    """The handle of the stream that torch's work on a device goes to."""
    raw = getattr(torch._C, "_cuda_getCurrentRawStream", None)  # a stream object costs 3 us
    if raw is not None:
        return int(raw(device))
    return int(torch.cuda.current_stream(device).cuda_stream)


def adds_doubles_slowly(device: int | None) -> bool:
    """Whether the kernels of a device had better add float32 without doubles."""
    if device is None:
        return False
    try:
        return _slow[device]
    except KeyError:
        module = kernels(device)
    slow = module is not None and bool(module.adds_doubles_slowly(device))
    _slow[device] = slow
    return slow


def refuse_in_graph(x: Tensor, name: str) -> None:
    """Raise RuntimeError if a CUDA graph is captured: what is made of `x` is made on the host."""
    if not x.is_cpu and is_captured():
        raise RuntimeError(
            f"{name}: got a CUDA graph that is being captured, takes one that is captured after a "
            "first call: what is made of indices on the host is made by the first"
        )


def is_captured() -> bool:
    """Whether what is launched now goes into a CUDA graph."""
    return _is_initialized() and torch.cuda.is_current_stream_capturing()
