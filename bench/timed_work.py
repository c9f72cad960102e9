"""Works that say what they took, that wait for one another, that keep to a core."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, process_time, sleep
from typing import Any

_PATIENCE = 60.0  # seconds for a worker to start


@dataclass(frozen=True)
class Timed:
    """A work that gives the seconds of CPU time that it took, beside what it gives.

    Attributes
    ----------
    work
        Called with a part.
    cores
        A folder in which workers take a core each, which they then keep to; None: they float.
    """

    work: Callable[[Any], Any]
    cores: str | None = None

    def __call__(self, part: Any) -> tuple[Any, float]:
        """Do a part."""
        if self.cores is not None:
            keep_to_a_core(Path(self.cores))
        began = process_time()
        done = self.work(part)
        return done, process_time() - began


@dataclass(frozen=True)
class Meeting:
    """A work that begins when as many workers as there are have come: none is cold afterwards.

    Attributes
    ----------
    work
        Called with a part.
    folder
        Where workers say that they are there.
    workers
        How many.
    """

    work: Callable[[Any], Any]
    folder: str
    workers: int

    def __call__(self, part: Any) -> Any:
        """Do a part."""
        folder = Path(self.folder)
        (folder / f"worker-{os.getpid()}").touch()
        began = monotonic()
        while len(list(folder.glob("worker-*"))) < self.workers:
            if monotonic() - began > _PATIENCE:
                raise TimeoutError(f"{self.workers} workers do not come together")
            sleep(0.005)
        return self.work(part)


def keep_to_a_core(folder: Path) -> None:
    """Take a core that no other worker of this folder has taken, and keep to it."""
    mine = f"of-{os.getpid()}"
    for core in sorted(os.sched_getaffinity(0)):
        claim = folder / f"core-{core}"
        try:
            claim.symlink_to(mine)  # made with its content, or not at all
        except FileExistsError:
            if os.readlink(claim) != mine:
                continue
        os.sched_setaffinity(0, {core})
        return
    raise RuntimeError("cores: more workers than cores")
