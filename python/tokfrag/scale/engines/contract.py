"""What an engine does: one piece of work for each of many parts, wherever there is room."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs parts on workers.

    The work must be idempotent: a worker may be killed in the middle of a part, or when it is done
    and nobody has heard of it, and the part is then given out again.

    Examples
    --------
    >>> class Serial:
    ...     def run(self, work, parts):
    ...         yield from map(work, parts)
    >>> sorted(Serial().run(abs, [-1, 2, -3]))  # for encode_corpus(..., engine=Serial())
    [1, 2, 3]
    """

    def run(self, work: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
        """Call ``work(part)`` for every part; give the results in the order in which they come.

        Parts are taken as workers have room. An exception of the work is raised here, and no
        further part begins. Closing the iterator stops the workers.

        Parameters
        ----------
        work : callable
            It, its parts and its results can be pickled.
        parts : iterable

        Returns
        -------
        iterator
            Of results.

        Raises
        ------
        WorkerLostError
            Workers died with the same part again and again.
        """


class WorkerLostError(RuntimeError):
    """Workers died while they worked at a part, more often than it is tried again."""


def worker_count(workers: int | None) -> int:
    """How many workers to start: as many as processors that this process may use, by default."""
    if workers is None:
        affinity: Any = getattr(os, "sched_getaffinity", None)
        return len(affinity(0)) if affinity else os.cpu_count() or 1
    if workers < 1:
        raise ValueError(f"workers: got {workers}, takes 1 or more")
    return workers


def call(work: Callable[[Part], Result], part: Part) -> Result:
    """Call the work: what is sent to workers that know functions by name."""
    return work(part)


__all__ = ["Engine", "Part", "Result", "WorkerLostError", "call", "worker_count"]
