"""Models, volumes and an engine under fire that tests of volumes share."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag import FragmentGrid, map_fragments

OPTIONS: dict[str, Any] = {"progress": False}


def smoothed(fragments: NDArray[Any]) -> NDArray[Any]:
    """A model that looks at a neighbour, by operations that give any batch the same bits."""
    return np.tanh(fragments * np.float32(0.3) + np.roll(fragments, 1, axis=-1) * np.float32(0.7))


def changes(fragments: NDArray[Any]) -> NDArray[Any]:
    """A model that looks at a neighbour and is as fast as a copy."""
    made: NDArray[Any] = fragments ^ np.roll(fragments, 1, axis=-1)
    return made


def two_channels(fragments: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([smoothed(fragments), -fragments], axis=1)


def halves(fragments: NDArray[Any]) -> NDArray[Any]:
    """Every second position."""
    return fragments[(..., *(slice(None, None, 2) for _ in range(fragments.ndim - 2)))]


def middle(fragments: NDArray[Any]) -> NDArray[Any]:
    """What an unpadded convolution of 3 leaves."""
    return fragments[(..., *(slice(1, -1) for _ in range(fragments.ndim - 2)))]


def signs(fragments: NDArray[Any]) -> NDArray[np.int16]:
    return (fragments > 0).astype(np.int16)


def strongest(slab: NDArray[Any]) -> NDArray[np.uint8]:
    return slab.argmax(axis=1)[:, None].astype(np.uint8)


def runs(fragments: NDArray[Any]) -> NDArray[np.int32]:
    """Instances: runs along the last axis, numbered from 1 in each fragment."""
    there = fragments > 0.2
    begins = there & ~np.roll(there, 1, axis=-1)
    begins[..., 0] = there[..., 0]
    numbers = np.cumsum(begins.reshape(len(fragments), -1), axis=1).reshape(fragments.shape)
    return np.where(there, numbers, 0).astype(np.int32)


def volume(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def whole(model: Any, x: NDArray[Any], grid: FragmentGrid, **options: Any) -> NDArray[Any]:
    """The result of one process, without axes of one entry and channel."""
    lead = (None,) * (2 + len(grid.shape) - x.ndim)
    result = map_fragments(model, x[lead], grid, batch_size=5, **options)
    made: NDArray[Any] = result[(0,) * len(lead)] if result.shape[1] == 1 else result[0]
    return made


def files(folder: Path) -> dict[str, str]:
    """The hash of every file of a volume."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@dataclass(frozen=True)
class KilledInABlock:
    """A model whose process is killed in its second call, once for each number up to `times`."""

    folder: str
    times: int
    seconds: float = 0.0
    model: Callable[[NDArray[Any]], NDArray[Any]] = smoothed

    def __call__(self, fragments: NDArray[Any]) -> NDArray[Any]:
        calls = Path(self.folder) / f"calls-{os.getpid()}"
        if calls.exists():
            for number in range(self.times):
                try:
                    (Path(self.folder) / f"killed-{number}").touch(exist_ok=False)
                except FileExistsError:
                    continue
                os.kill(os.getpid(), signal.SIGKILL)
        calls.touch()
        time.sleep(self.seconds)
        return self.model(fragments)


@dataclass(frozen=True)
class KilledAtOnce:
    """A `reduce_slab` that kills its process once, in the second round: when a block is there."""

    folder: str
    driver: int

    def __call__(self, slab: NDArray[Any]) -> NDArray[Any]:
        mark = Path(self.folder) / "killed-slab"
        records = Path(self.folder).parent / "dst.blocks"
        left = {path.name[:6] for path in records.glob("*.inner.npz")}
        done = {path.stem for path in records.glob("0*.json")}
        second = os.getpid() != self.driver and len(done - left) > 0
        if second and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return slab


@dataclass
class Stopping:
    """An engine that stops after some parts, as if the process that called had been killed."""

    engine: Any
    after: int

    def run(self, work: Callable[[Any], Any], parts: Iterable[Any]) -> Iterator[Any]:
        for number, done in enumerate(self.engine.run(work, parts)):
            if number == self.after:
                raise InterruptedError
            yield done
