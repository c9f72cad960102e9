"""Batches made ahead, in order, by threads or by processes.

Processes are our own and not those of torch's ``DataLoader``: there every worker holds a copy of
the data set and draws from it, so that the order of batches, and what a checkpoint has to hold,
depend on how many workers there are. Here one place draws and plans, workers get what to make, and
nothing but the speed depends on their number. Patches, the large part of a batch, are written by
the worker into memory that this process maps, and are never sent.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tokfrag._arrays import dtype_name
from tokfrag.stream.assembling import assemble
from tokfrag.stream.packed import Packed
from tokfrag.stream.planning import Rows, State
from tokfrag.stream.sources import ImageSource, Tokens


@dataclass(frozen=True)
class Recipe:
    """All that a worker needs to know beside a batch's rows."""

    readers: Sequence[Tokens | ImageSource]
    length: int
    pad_id: int
    mrope: bool

    def make(self, rows: Rows, threads: int | None, allocate: Any = None) -> Packed:
        """Make the batch of some rows; `allocate` gives the memory of its patches."""
        return assemble(
            rows,
            self.readers,
            length=self.length,
            pad_id=self.pad_id,
            mrope=self.mrope,
            threads=threads,
            allocate=allocate,
        )


Plans: TypeAlias = Iterator[tuple[Rows, State]]
Batches: TypeAlias = Generator[tuple[Packed, State], None, None]


def made_here(recipe: Recipe, plans: Plans) -> Batches:
    """Batches when they are asked for, each on all threads."""
    for rows, state in plans:
        yield recipe.make(rows, None), state


def made_by_threads(recipe: Recipe, plans: Plans, workers: int) -> Batches:
    """Batches by threads of this process."""
    with _Stopping(ThreadPoolExecutor(workers)) as pool:
        yield from _in_order(plans, workers, lambda rows: pool.submit(recipe.make, rows, 1))


def made_by_processes(recipe: Recipe, plans: Plans, workers: int) -> Batches:
    """Batches by processes, started as ``multiprocessing`` is set to."""
    shared = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="tokfrag-", dir=shared) as folder:
        executor = ProcessPoolExecutor(
            workers, multiprocessing.get_context(), initializer=_remember, initargs=(recipe, folder)
        )
        with _Stopping(executor) as pool:
            ready = _in_order(plans, workers, lambda rows: pool.submit(_make_shared, rows))
            for packed, state in ready:
                yield _mapped(packed), state


class _Stopping:
    """An executor that leaves what has not begun undone at its end."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool

    def __enter__(self) -> Executor:
        return self._pool

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def _in_order(plans: Plans, workers: int, submit: Any) -> Iterator[tuple[Any, State]]:
    """Results in the order of plans, two a worker being made or waiting."""
    waiting: deque[tuple[Future[Any], State]] = deque()
    for rows, state in plans:
        waiting.append((submit(rows), state))
        if len(waiting) == 2 * workers:
            made, after = waiting.popleft()
            yield made.result(), after
    for made, after in waiting:
        yield made.result(), after


# ---- in a worker process

_recipe: Recipe
_folder: str


def _remember(recipe: Recipe, folder: str) -> None:
    global _recipe, _folder
    _recipe, _folder = recipe, folder


@dataclass(frozen=True)
class _File:
    """Values of patches in a file that the worker wrote."""

    path: str
    shape: tuple[int, int]
    dtype: str


def _make_shared(rows: Rows) -> Packed:
    written: list[_File] = []

    def allocate(count: int, size: int, dtype: Any) -> Any:
        handle, path = tempfile.mkstemp(dir=_folder)
        file = _File(path, (count, size), dtype_name(_named(dtype)))
        written.append(file)
        try:
            needed = count * size * _item(file.dtype).itemsize
            if needed and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle, 0, needed)  # a full disk is an error here, no signal
            else:
                os.truncate(handle, needed)
        finally:
            os.close(handle)
        return _open(file)

    packed = _recipe.make(rows, 1, allocate)
    if packed.patches is None:
        return packed
    return replace(packed, patches=replace(packed.patches, values=written[0]))


def _mapped(packed: Packed) -> Packed:
    """The batch with its patches' values read where the worker wrote them."""
    if packed.patches is None:
        return packed
    file = packed.patches.values
    values = _open(file)
    Path(file.path).unlink()  # the memory stays as long as the array does
    return replace(packed, patches=replace(packed.patches, values=values))


def _open(file: _File) -> Any:
    if 0 in file.shape:
        array = np.empty(file.shape, _item(file.dtype))
    else:
        array = np.asarray(np.memmap(file.path, _item(file.dtype), "r+", shape=file.shape))
    if file.dtype != "bfloat16":
        return array
    import torch

    return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)


def _item(dtype: str) -> np.dtype[Any]:
    return np.dtype(np.uint16 if dtype == "bfloat16" else dtype)


def _named(dtype: Any) -> Any:
    return dtype if dtype == "bfloat16" or str(dtype).startswith("torch.") else np.dtype(dtype)
