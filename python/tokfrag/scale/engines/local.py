"""Processes of this machine; one that dies is replaced, and its part done again."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from tokfrag.scale.engines.contract import Part, Result, WorkerLostError, worker_count

_PATIENCE = 10.0  # seconds for a worker to remove what it has half written


class LocalEngine:
    """Worker processes of this machine.

    They are fresh interpreters, so that nothing depends on how this process was started, and no
    ``if __name__ == "__main__"`` is asked for; what is pickled goes through sockets that only
    this process and its worker hold. Not for Windows, which passes no sockets on.

    Parameters
    ----------
    workers : int, optional
        By default as many as there are processors. 1: this process itself does the work.
    retries : int
        How often a part is given out again when its worker has died.

    Examples
    --------
    >>> sorted(LocalEngine(2).run(abs, [-1, 2, -3]))
    [1, 2, 3]
    """

    def __init__(self, workers: int | None = None, *, retries: int = 3) -> None:
        self.workers = worker_count(workers)
        self.retries = retries

    def run(self, work: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
        """Call ``work(part)`` for every part, as :class:`Engine` says.

        Parameters
        ----------
        work : callable
            Can be pickled.
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
        if self.workers == 1:
            yield from map(work, parts)
            return
        packed = pickle.dumps(work)
        waiting = _Waiting(iter(parts))
        workers: dict[Connection, _Worker] = {}
        try:
            while True:
                while len(workers) < self.workers and not waiting.empty():
                    worker = _Worker(packed)
                    workers[worker.connection] = worker
                    worker.give(*waiting.take())
                if not workers:
                    return
                for ready in wait(list(workers)):
                    assert isinstance(ready, Connection)
                    worker = workers[ready]
                    try:
                        kind, value = worker.connection.recv()
                    except (EOFError, ConnectionError):
                        del workers[ready]
                        worker.close()
                        self._again(waiting, worker)
                        continue
                    if kind == "error":
                        error, trace = value
                        raise error from _WorkerTraceback(trace)
                    if waiting.empty():
                        del workers[ready]
                        worker.close()
                    else:
                        worker.give(*waiting.take())
                    yield value
        finally:
            for worker in workers.values():
                worker.stop()
            for worker in workers.values():
                worker.close()

    def _again(self, waiting: _Waiting, worker: _Worker) -> None:
        if worker.losses >= self.retries:
            raise WorkerLostError(
                f"engine: {worker.losses + 1} workers died with the part {worker.part!r};"
                f" the last with status {worker.process.returncode}"
            )
        waiting.put_back(worker.part, worker.losses + 1)


class _Waiting:
    """Parts that no worker has, each with how many workers have died with it."""

    def __init__(self, parts: Iterator[Any]) -> None:
        self._parts = parts
        self._again: list[tuple[Any, int]] = []

    def empty(self) -> bool:
        if not self._again:
            for part in self._parts:
                self._again.append((part, 0))
                break
        return not self._again

    def take(self) -> tuple[Any, int]:
        return self._again.pop(0)

    def put_back(self, part: Any, losses: int) -> None:
        self._again.append((part, losses))


class _Worker:
    """A process that does the work for one part after another."""

    def __init__(self, packed: bytes) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tokfrag.scale.engines.worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            self.connection = Connection(ours.detach())
        self.part: Any = None
        self.losses = 0
        with suppress(ConnectionError):  # it died at once: told by the connection's end
            self.connection.send_bytes(packed)

    def give(self, part: Any, losses: int) -> None:
        self.part, self.losses = part, losses
        with suppress(ConnectionError):
            self.connection.send(part)

    def stop(self) -> None:
        self.process.terminate()

    def close(self) -> None:
        """Close what leads to it, at which it ends; wait for that."""
        self.connection.close()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class _WorkerTraceback(Exception):
    """Where in a worker an exception was raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


__all__ = ["LocalEngine"]
