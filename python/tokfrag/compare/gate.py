"""The gate before training: no answer may depend on what it predicts, and a step must fit.

That pieces stand for all of a text is the other half of the gate, in :mod:`.roundtrip`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

# A predicted peak above this share of the free memory is refused.
_MEMORY_SHARE = 0.6


class SeesTheFutureError(ValueError):
    """A network whose answer depends on what it should predict."""


def probe_network(
    network: nn.Module, inputs: Tensor, *, causal: bool, vocabulary: int | None
) -> None:
    """Change what an answer must not depend on, and see that it does not change.

    The last pieces of a text, for all answers up to that which tells the first of them; another
    sample of the batch, for all.

    Raises
    ------
    SeesTheFutureError
        Where an answer changed.
    """
    x = inputs[:2].clone()
    if len(x) < 2:
        return
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            before = network(x)
            for mine, changed in ((0, 1), (1, 0)):
                other = x.clone()
                other[changed] = _changed(x[changed], vocabulary)
                if not _alike(before[mine], network(other)[mine]):
                    raise SeesTheFutureError(
                        "model: its answer to one sample changes with another sample of the batch "
                        "(batch_first=True?)"
                    )
            if not causal or x.shape[1] < 2:
                return
            for place in sorted({1, x.shape[1] // 2, x.shape[1] - 1}):
                later = x.clone()
                later[:, place:] = _changed(x[:, place:], vocabulary)
                after = network(later)
                # The answer for the piece at `place` is given before it is seen; of several units
                # in a piece, that holds for the first.
                kept = place * (before.shape[1] // x.shape[1]) + 1
                if not _alike(before[:, :kept], after[:, :kept]):
                    raise SeesTheFutureError(
                        f"model: what it answers for piece {place} changes with the pieces "
                        "from there on; predicting the next piece takes a causal module"
                    )
    finally:
        network.train(was_training)


def _changed(x: Tensor, vocabulary: int | None) -> Tensor:
    if vocabulary is None:
        return x + 1 + x.abs()
    return (x + 1 + vocabulary // 2) % max(1, vocabulary)


def _alike(one: Tensor, other: Tensor) -> bool:
    size = float(one.abs().max()) if one.numel() else 0.0
    return bool(torch.allclose(one, other, rtol=1e-3, atol=1e-4 * max(1.0, size)))


def free_memory() -> float | None:
    """Bytes that this process may still take: of the machine's, and of its own limit."""
    found: list[float] = []
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(float(line.split()[1]) * 1024)
    if sys.platform != "win32":
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        statm = Path("/proc/self/statm")
        if limit != resource.RLIM_INFINITY and statm.is_file():
            used = int(statm.read_text().split()[0]) * resource.getpagesize()
            found.append(float(limit - used))
    return min(found, default=None) if found else None


def check_memory(peak: float, items: int) -> None:
    """Refuse a training step that would not fit, before it is tried.

    Parameters
    ----------
    peak
        Bytes that the step is predicted to hold at its peak.
    items
        Items in its batch.

    Raises
    ------
    MemoryError
        With the prediction, what is free, and the batch that would fit.
    """
    free = free_memory()
    if free is None or peak <= free * _MEMORY_SHARE:
        return
    fits = int(items * free * _MEMORY_SHARE / peak)
    cure = f"a batch of {fits} would fit (batch={fits})" if fits else "no batch would fit"
    raise MemoryError(
        f"memory: a training step takes {peak / 1e9:.1f} GB at its peak, {free / 1e9:.1f} GB are "
        f"free; {cure}"
    )
