"""The dense form of a sparse weight, for code that reads ``layer.weight``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

# Methods that change a tensor, though no trailing underscore says so.
_WRITES = {"__setitem__", "__set__", "backward"}


class DenseView(Tensor):
    """A dense copy of a sparse weight that cannot be written to.

    A write would be lost, for the layer keeps its ``values``; so it raises TypeError. All else is
    done with the plain tensor. Torch's fused fast paths decline tensors that watch themselves, and
    so call the sparse layer instead.
    """

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run ``func`` on plain tensors; refuse what writes."""
        kwargs = {} if kwargs is None else dict(kwargs)
        name = getattr(func, "__name__", "")
        in_place = name.endswith("_") and not name.endswith("__")
        augmented = name.startswith("__i") and name.endswith("__") and name != "__invert__"
        target = args[0] if args else kwargs.get("tensor")
        if isinstance(target, cls) and (in_place or augmented or name in _WRITES):
            raise TypeError(f"weight: got {name}, takes reads; the layer's values are `values`")
        if _holds(kwargs.get("out"), cls):
            raise TypeError("out: got a sparse layer's weight, which is read-only")
        with torch._C.DisableTorchFunctionSubclass():
            return func(*(_plain(arg) for arg in args), **{k: _plain(v) for k, v in kwargs.items()})


def view_of(weight: Tensor) -> Tensor:
    """The read-only form of a dense matrix."""
    return weight.as_subclass(DenseView)


def _plain(value: Any) -> Any:
    if isinstance(value, DenseView):
        return value.as_subclass(Tensor)
    if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
        return type(value)(_plain(part) for part in value)
    return value


def _holds(value: Any, kind: type) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_holds(part, kind) for part in value)
    return isinstance(value, kind)
