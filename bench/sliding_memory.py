"""Memory of sliding-window inference beyond the start: map_fragments, compat.monai, MONAI.

    python bench/sliding_memory.py

Each in a process of its own: the rise of the largest resident size by one call on a volume of
192^3 (its result alone is 27 MiB): size 64, stride 32, gaussian, batches of 4, one thread; the
model is the identity.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import warnings

PEERS = ("map_fragments", "tokfrag.compat.monai", "monai")


def rise(peer: str) -> float:
    """MiB that one call adds to the largest resident size of this process."""
    import torch

    from tokfrag.compat.monai import sliding_window_inference as ours
    from tokfrag.fragments import FragmentGrid, map_fragments

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.inferers import sliding_window_inference as theirs
    torch.set_num_threads(1)

    def call(x: torch.Tensor, size: int) -> None:
        if peer == "map_fragments":
            grid = FragmentGrid(tuple(x.shape[2:]), size, size // 2)
            map_fragments(lambda f: f, x, grid, batch_size=4, threads=1)
        else:
            infer = theirs if peer == "monai" else ours
            infer(x, (size,) * 3, 4, lambda f: f, overlap=0.5, mode="gaussian")

    x = torch.rand(1, 1, 192, 192, 192)
    call(torch.rand(1, 1, 64, 64, 64), 32)  # loads what is loaded once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call(x, 64)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    if len(sys.argv) > 1:
        print(rise(sys.argv[1]))
        return
    print("| | MiB beyond the start | beyond its result |\n|---|---|---|")
    for peer in PEERS:
        told = subprocess.run(
            [sys.executable, __file__, peer], capture_output=True, text=True, check=True
        )
        made = float(told.stdout)
        print(f"| {peer} | {made:.0f} | {made - 27:.0f} |")


if __name__ == "__main__":
    main()
