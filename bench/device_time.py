"""Times of work on a CUDA device, and of the host that queues it, each by itself.

Between two events behind a spinning kernel the host is ahead, and launches cost the device nothing;
before each, the cache is filled with other bytes, or an input of some megabytes would be read from
it every time but the first.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

_CACHE_BYTES = 256 << 20  # more than any device's
_SPIN_CYCLES = 2_000_000  # about a millisecond
_ROUNDS, _HOST_ROUNDS, _HOST_CALLS = 15, 5, 100


@cache
def _other_bytes() -> torch.Tensor:
    return torch.empty(_CACHE_BYTES, dtype=torch.uint8, device="cuda")


def device_seconds(run: Callable[[], Any]) -> float:
    """The median time the device takes for what `run` queues."""
    for _ in range(3):
        run()
    laps = []
    for _ in range(_ROUNDS):
        _other_bytes().zero_()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(_SPIN_CYCLES)
        begin.record()
        run()
        end.record()
        end.synchronize()
        laps.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(laps)


def host_seconds(run: Callable[[], Any]) -> float:
    """The least mean time the host takes to queue `run`; small work, that it never waits."""
    run()
    torch.cuda.synchronize()
    laps = []
    for _ in range(_HOST_ROUNDS):
        begin = time.perf_counter()
        for _ in range(_HOST_CALLS):
            run()
        laps.append((time.perf_counter() - begin) / _HOST_CALLS)
        torch.cuda.synchronize()
    return min(laps)
