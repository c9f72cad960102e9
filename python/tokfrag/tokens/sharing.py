"""Work in Python that lets go of the interpreter for most of its time, on several threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")


def in_threads(jobs: Sequence[Callable[[Event], T]]) -> list[T]:
    """Do jobs at once, the last one on the thread that calls.

    Parameters
    ----------
    jobs
        Each is given what it should look at now and then: set, it may return anything.

    Returns
    -------
    list
        What they gave, in order.

    Raises
    ------
    Exception
        The first, in the order of the jobs, that one of them has raised.

    Examples
    --------
    >>> in_threads([lambda stop: 1, lambda stop: 2])
    [1, 2]
    """
    stop = Event()
    given: dict[int, T] = {}
    raised: dict[int, Exception] = {}

    def do(index: int) -> None:
        try:
            given[index] = jobs[index](stop)
        except Exception as error:
            raised[index] = error

    last = len(jobs) - 1
    threads = [Thread(target=do, args=(index,), daemon=True) for index in range(last)]
    try:
        for thread in threads:
            thread.start()
        do(last)
        for thread in threads:
            thread.join()
    except BaseException:  # Ctrl-C: nobody waits for the others
        stop.set()
        raise
    if raised:
        raise raised[min(raised)]
    return [given[index] for index in range(len(jobs))]


def even_parts(sizes: Sequence[int], parts: int) -> list[slice]:
    """Divide things end to end into so many parts of about the same size, at most.

    >>> even_parts([5, 1, 1, 1, 8], 2)
    [slice(0, 4, None), slice(4, 5, None)]
    """
    total = sum(sizes)
    slices: list[slice] = []
    begin = so_far = 0
    for index, size in enumerate(sizes):
        so_far += size
        if so_far * parts >= total * (len(slices) + 1) or index == len(sizes) - 1:
            slices.append(slice(begin, index + 1))
            begin = index + 1
    return slices
