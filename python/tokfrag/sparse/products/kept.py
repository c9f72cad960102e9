"""The dense matrix that a layer keeps from call to call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from tokfrag._core import sparse as _native


@dataclass(frozen=True, eq=False)
class _Kept:
    state: tuple[object, ...]
    values: Tensor | None  # keeps their memory, so that its address is not another tensor's
    weight: Tensor


class KeptMatrix:
    """The dense matrix of some values, made anew when they have changed.

    Torch counts the changes of a tensor, but not those made through ``.data``. So where values can
    be trained, each use reads all of them and sums them up (8 bytes a cycle): one changed value
    always shows, and the race that chooses the dense product has paid for it. Where they are frozen
    the count decides, their address, and a few values spread over them. On other devices the sum
    would have to be waited for, so nothing is kept there.
    """

    def __init__(self) -> None:
        self._kept: _Kept | None = None

    def of(self, values: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
        """Give ``make(values)``, or what it gave for the same contiguous values before."""
        if not values.is_cpu:
            return make(values)
        address, count = values.data_ptr(), values.numel()
        state: tuple[object, ...]
        if values.requires_grad or values.is_inference():  # inference tensors have no count
            size = count * values.element_size()
            state = (values.dtype, size, _native.checksum(address, size))
        else:
            samples = _native.sample_bytes(address, values.element_size(), count)
            state = (values.dtype, address, count, values._version, samples)
        kept = self._kept
        if kept is not None and kept.state == state:
            return kept.weight
        weight = make(values)
        self._kept = _Kept(state, None if values.requires_grad else values, weight)
        return weight
