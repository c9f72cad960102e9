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
