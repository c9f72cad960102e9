"""How the package registers torch operators. Imported on the first tensor, never before.

Operators live in the ``tokfrag`` namespace and are made of plain Python: an implementation a
device, a fake one for tracing, and a backward. No libtorch is linked, so one build serves every
torch release.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tokfrag._core import default_threads

#: The same as each operator, of torch's own ones; see `define`.
DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {}
_library: Any = torch.library.Library("tokfrag", "FRAGMENT")  # type: ignore[no-untyped-call]


def define(
    schema: str,
    *,
    cpu: Callable[..., Any],
    fake: Callable[..., Any],
    setup_context: Callable[..., None] | None = None,
    backward: Callable[..., Any] | None = None,
    decomposition: Callable[..., Any] | None = None,
) -> Any:
    """Registers ``tokfrag::<schema>`` and returns the operator.

    `fake` makes outputs of the right shapes without data; `setup_context` and `backward` are those
    of `torch.library.register_autograd`; `decomposition` is the same of torch's own operators, for
    programs that know no others. Other devices add an implementation with `implement`.
    """
    name = schema[: schema.index("(")]
    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _library.impl(name, cpu, "CPU")
    torch.library.register_fake(f"tokfrag::{name}", fake, lib=_library)
    if backward is not None:
        torch.library.register_autograd(
            f"tokfrag::{name}", backward, setup_context=setup_context, lib=_library
        )
    operator = getattr(torch.ops.tokfrag, name).default
    if decomposition is not None:
        DECOMPOSITIONS[operator] = decomposition
    return operator


def implement(name: str, device: str, function: Callable[..., Any]) -> None:
    """Registers an operator's implementation for another device key, ``"CUDA"`` say."""
    _library.impl(name, function, device)


_PLAIN = (torch.Tensor, torch.nn.Parameter)
_forward_ad: Any = torch.autograd.forward_ad
_is_compiling = torch.compiler.is_compiling
# A torch without this question exports to its own operators only.
is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", lambda: False)

try:
    # Who may be watching. Bound once: a small call spends a third of its time on these questions.
    _count_modes = torch._C._len_torch_dispatch_stack
    _is_function_mode = torch._C._is_torch_function_mode_enabled
    _is_functorch: Callable[[], bool] = torch._C._are_functorch_transforms_active
    _trace: Callable[[], object] = torch._C._get_tracing_state
    _is_legacy_batched: Callable[[torch.Tensor], bool] = torch._C._functorch.is_legacy_batchedtensor
    _CAN_TELL = hasattr(torch._C, "_DisableFuncTorch") and hasattr(_forward_ad, "_current_level")
except AttributeError:  # a torch that names them otherwise: every call takes the operator
    _CAN_TELL = False


def thread_limit(threads: int) -> int:
    """The most threads a call may use; 0 stands for as many as torch may."""
    return threads or min(default_threads(), torch.get_num_threads())


def nobody_watches() -> bool:
    """Whether no compiler, tracer, mode or transformation must see the operator itself."""
    return _CAN_TELL and not (
        _is_compiling()
        or _count_modes()
        or _is_function_mode()
        or _is_functorch()
        or _trace() is not None
        or _forward_ad._current_level >= 0
    )


def transformed() -> bool:
    """Whether something is at work that sees no operator of ours.

    That is torch.func, forward-mode differentiation, or an export to ONNX.
    """
    if _CAN_TELL and (_is_functorch() or _forward_ad._current_level >= 0):
        return True
    return is_exporting() and torch.onnx.is_in_onnx_export()


def is_memory(x: torch.Tensor) -> bool:
    """Whether a tensor's numbers are what lies at its address."""
    return (
        type(x) in _PLAIN
        and x.layout is torch.strided
        and not x.is_quantized
        and not x.is_neg()
        and not x.is_conj()
        and not x._is_zerotensor()
        and not _is_legacy_batched(x)
    )


def is_plain(x: torch.Tensor) -> bool:
    """True if nothing but the kernel would see a call on `x`: the dispatcher is left out.

    That saves most of a small call's time.
    """
    return nobody_watches() and not (x.requires_grad and torch.is_grad_enabled()) and is_memory(x)
