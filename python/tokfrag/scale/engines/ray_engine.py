"""Ray Core: a task a part; a worker that is killed costs nothing but its part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from tokfrag.scale.engines.contract import Part, Result, WorkerLostError

# The work of this process, where that is a worker of Ray, and the name of the object it came from.
_held: dict[str, Callable[[Any], Any]] = {}


class RayEngine:
    """Tasks of Ray Core: of the cluster that this process is connected to, else of this machine.

    Parameters
    ----------
    workers : int, optional
        Processors of a cluster that is started for the time of the work; None: all.
    retries : int
        How often a task is run again when its worker has died.

    Examples
    --------
    >>> engine = RayEngine(2, retries=1)  # for encode_corpus(..., engine=engine)
    >>> engine.workers, engine.retries
    (2, 1)
    """

    def __init__(self, workers: int | None = None, *, retries: int = 3) -> None:
        self.workers = workers
        self.retries = retries

    def run(self, work: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
        """Call ``work(part)`` for every part, as :class:`Engine` says.

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
            Workers died with a part more than ``retries`` times.
        """
        import ray

        started = not ray.is_initialized()
        if started:
            ray.init(num_cpus=self.workers, include_dashboard=False, log_to_driver=False)
        pending: list[Any] = []
        try:
            task = ray.remote(num_cpus=1, max_retries=self.retries)(_call_held)
            held = [ray.put(work)]  # in a list: Ray would make a new work of it for every part
            left = iter(parts)
            # Two tasks a processor: none waits for the next, and no million is held at once.
            room = max(4, 2 * int(ray.cluster_resources().get("CPU", 1)))
            while True:
                pending += [task.remote(held, part) for part in islice(left, room - len(pending))]
                if not pending:
                    return
                done, pending = ray.wait(pending, num_returns=1)
                yield self._result(ray, done[0])
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)
            if started:
                ray.shutdown()

    @staticmethod
    def _result(ray: Any, reference: Any) -> Any:
        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.WorkerCrashedError as error:
            raise WorkerLostError(f"engine: {error}") from error


def _call_held(reference: list[Any], part: Any) -> Any:
    """Call the work, which a worker fetches once: what it has learnt serves the next part."""
    import ray

    name = reference[0].hex()
    if name not in _held:
        _held.clear()
        _held[name] = ray.get(reference[0])
    return _held[name](part)


__all__ = ["RayEngine"]
