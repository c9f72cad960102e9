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
    network: nn.Module,
    inputs: Tensor,
    *,
    causal: bool,
    vocabulary: int | None,
    carries_ids: bool = False,
) -> None:
    """Change what an answer must not depend on, and see that it does not change.

    The last pieces of a text, for all answers up to that which tells the first of them; another
    sample of the batch, for all. ``carries_ids`` says that numbers stand for ids too, so that only
    real samples are shown.

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
                other[changed] = x[mine] if carries_ids else _changed(x[changed], vocabulary)
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


def free_memory(device: torch.device | None = None) -> float | None:
    """Bytes that may still be taken: of a GPU's memory, or of the machine's and the process's."""
    if device is not None and device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
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


def fitting_items(peak: float, items: int, device: torch.device | None = None) -> int:
    """How many items of a batch may go through the network at once; all of them where they fit.

    Parameters
    ----------
    peak
        Bytes that a step on all of them is predicted to hold at its peak.
    items
        Items in the batch.
    device
        Where the step is made; on the processor if not given.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    MemoryError
        Where not even one item would fit, with the prediction and what is free.
    """
    free = free_memory(device)
    if free is None or peak <= free * _MEMORY_SHARE:
        return items
    fits = int(items * free * _MEMORY_SHARE / peak)
    if fits:
        return fits
    raise MemoryError(
        f"memory: a training step on one item takes {peak / items / 1e9:.1f} GB at its peak, "
        f"{free / 1e9:.1f} GB are free; a smaller --width, or a coarser cut, takes less"
    )
