"""How the package registers torch operators. Imported on the first tensor, never before.

Operators live in the ``tokfrag`` namespace and are made of plain Python: an implementation a
device, a fake one for tracing, and a backward. No libtorch is linked, so one build serves every
torch release.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_library: Any = torch.library.Library("tokfrag", "FRAGMENT")  # type: ignore[no-untyped-call]


def define(
    schema: str,
    *,
    cpu: Callable[..., Any],
    fake: Callable[..., Any],
    setup_context: Callable[..., None] | None = None,
    backward: Callable[..., Any] | None = None,
) -> Any:
    """Registers ``tokfrag::<schema>`` and returns the operator.

    `fake` makes outputs of the right shapes without data; `setup_context` and `backward` are those
    of `torch.library.register_autograd`. Other devices add an implementation with `implement`.
    """
    name = schema[: schema.index("(")]
    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _library.impl(name, cpu, "CPU")
    torch.library.register_fake(f"tokfrag::{name}", fake, lib=_library)
    if backward is not None:
        torch.library.register_autograd(
            f"tokfrag::{name}", backward, setup_context=setup_context, lib=_library
        )
    return getattr(torch.ops.tokfrag, name).default


def implement(name: str, device: str, function: Callable[..., Any]) -> None:
    """Registers an operator's implementation for another device key, ``"CUDA"`` say."""
    _library.impl(name, function, device)


_PLAIN = (torch.Tensor, torch.nn.Parameter)
# What tells that somebody watches; a torch that names it otherwise takes the operator always.
_CAN_TELL = all(
    hasattr(torch._C, name)
    for name in (
        "_len_torch_dispatch_stack",
        "_is_torch_function_mode_enabled",
        "_are_functorch_transforms_active",
        "_get_tracing_state",
        "_DisableFuncTorch",
    )
) and all(
    hasattr(owner, name)
    for owner, name in (
        (torch.autograd.forward_ad, "_current_level"),
        (torch._C._functorch, "is_legacy_batchedtensor"),
    )
)


def nobody_watches() -> bool:
    """Whether no compiler, tracer, mode or transformation must see the operator itself."""
    return _CAN_TELL and not (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._is_torch_function_mode_enabled()
        or torch._C._are_functorch_transforms_active()
        or torch._C._get_tracing_state() is not None
        or torch.autograd.forward_ad._current_level >= 0
    )


def transformed() -> bool:
    """Whether torch.func or forward-mode differentiation is at work, which see no operator."""
    return _CAN_TELL and (
        torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0
    )


def is_memory(x: torch.Tensor) -> bool:
    """Whether a tensor's numbers are what lies at its address."""
    return (
        type(x) in _PLAIN
        and x.layout is torch.strided
        and not x.is_neg()
        and not x._is_zerotensor()
        and not torch._C._functorch.is_legacy_batchedtensor(x)
    )
