"""Dask distributed: a future a part; a worker that is killed costs nothing but its part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any, TypeVar

from tokfrag.scale.engines.contract import Part, Result, WorkerLostError, call, worker_count

T = TypeVar("T")


class DaskEngine:
    """Futures of Dask distributed.

    Parameters
    ----------
    workers : int, optional
        Processes of a cluster on this machine, where there is no client; None: one a processor.
    client : distributed.Client, optional
        What leads to a cluster; by default the one that this process has opened last.

    Examples
    --------
    >>> engine = DaskEngine(2)  # for encode_corpus(..., engine=engine)
    >>> engine.workers
    2
    """

    def __init__(self, workers: int | None = None, *, client: Any = None) -> None:
        self.workers = workers
        self.client = client

    def run(self, work: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
        """Call ``work(part)`` for every part, as :class:`Engine` says.

        How often a part is given out again is Dask's own setting,
        ``distributed.scheduler.allowed-failures``.

        Parameters
        ----------
        work : callable
        parts : iterable

        Yields
        ------
        object
            What the work gives.

        Raises
        ------
        WorkerLostError
            Workers died with a part more often than Dask allows.
        """
        import distributed

        with ExitStack() as stack:
            client = self.client or _client(distributed, stack, self.workers)
            # A task gives the work to the workers: unlike data that is scattered, what a task has
            # made is made again when its worker is gone.
            held = client.submit(_same, work, pure=False)
            left = iter(parts)
            room = max(4, 2 * sum(client.nthreads().values()))
            begun = [client.submit(call, held, part, pure=False) for part in islice(left, room)]
            completed = distributed.as_completed(begun, loop=client.loop)
            try:
                for future in completed:
                    try:
                        result = future.result()
                    except distributed.KilledWorker as error:
                        raise WorkerLostError(f"engine: {error}") from error
                    for part in islice(left, 1):
                        completed.add(client.submit(call, held, part, pure=False))
                    yield result
            finally:
                if client.status == "running":  # else there is nobody to tell
                    client.cancel(list(completed.futures))


def _client(distributed: Any, stack: ExitStack, workers: int | None) -> Any:
    try:
        return distributed.default_client()
    except ValueError:  # there is none
        cluster = stack.enter_context(
            distributed.LocalCluster(
                n_workers=worker_count(workers),
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=None,
            )
        )
        return stack.enter_context(distributed.Client(cluster, set_as_default=False))


def _same(work: T) -> T:
    return work


__all__ = ["DaskEngine"]
