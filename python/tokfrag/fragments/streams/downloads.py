"""Finished slabs on their way from a device to the host."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor


class _Slab(NamedTuple):
    buffer: Tensor
    copied: Any  # an event
    write: Callable[[Tensor], None]


class Downloads:
    """Copies slabs into pinned memory, two at a time, while the device computes the next.

    What is done with a slab on the host is done when its buffer is wanted again, or at `finish`.
    """

    def __init__(self) -> None:
        self._buffers: list[Tensor | None] = [None, None]
        self._waiting: list[_Slab | None] = [None, None]
        self._turn = 0

    def put(self, slab: Tensor, write: Callable[[Tensor], None]) -> None:
        """Begin the copy of a slab; ``write(copy)`` is called once it has come."""
        turn = self._turn = 1 - self._turn
        self._write(turn)
        buffer = self._buffers[turn]
        if buffer is None or buffer.dtype != slab.dtype or buffer.numel() < slab.numel():
            buffer = self._buffers[turn] = _pinned(slab.numel(), slab.dtype)
        held = buffer[: prod(slab.shape)].view(slab.shape)
        held.copy_(slab, non_blocking=True)
        self._waiting[turn] = _Slab(held, _copied(slab.device), write)

    def finish(self) -> None:
        """Write what was put and not yet written, in its order."""
        self._write(1 - self._turn)
        self._write(self._turn)

    def _write(self, turn: int) -> None:
        waiting, self._waiting[turn] = self._waiting[turn], None
        if waiting is not None:
            waiting.copied.synchronize()
            waiting.write(waiting.buffer)


def _pinned(numbers: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(numbers, dtype=dtype, pin_memory=True)


def _copied(device: torch.device) -> Any:
    """An event of the device's current stream, behind all that is queued on it."""
    return torch.cuda.current_stream(device).record_event()
