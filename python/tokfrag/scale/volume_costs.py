"""What it costs to run windows twice, or to hand their outputs on: measured before any block."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from math import prod
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, TypeAlias

import numpy as np

from tokfrag.fragments.streams.sliding import Call, Feeder
from tokfrag.scale.plan import PLAN, PlanHead
from tokfrag.scale.volume_arrays import open_volume
from tokfrag.scale.volume_blocks import HeldVolume, window_numbers
from tokfrag.scale.volume_borders import Borders
from tokfrag.scale.volume_planning import Probe, Source

#: How blocks get the outputs of windows that reach several of them.
BorderMode: TypeAlias = Literal["recompute", "exchange"]

_SAMPLE = 1 << 22  # bytes that are written and read to see how fast that is
_FILES_A_BLOCK = 4  # two of outputs and results, two records


def handed_bytes(borders: Borders, probe: Probe) -> int:
    """About how many bytes blocks leave for each other."""
    position = probe.result_channels * probe.dtype.itemsize
    return borders.handed_bytes(probe.output.window_bytes, position)


def border_mode(
    wanted: str,
    folder: Path,
    borders: Borders,
    probe: Probe,
    model: Callable[..., Any],
    source: Source,
    call: Call,
) -> BorderMode:
    """The mode that is wanted; of "auto" that of the plan that is there, else the cheaper one.

    Raises
    ------
    ValueError
        There is no such mode.
    """
    modes: dict[str, BorderMode] = {"recompute": "recompute", "exchange": "exchange"}
    if wanted in modes:
        return modes[wanted]
    if wanted != "auto":
        raise ValueError(f"borders: got {wanted!r}, takes 'recompute', 'exchange' or 'auto'")
    if (folder / PLAN).exists():
        there = PlanHead.read(folder).settings.get("borders")
        if there in modes:
            return modes[there]
    windows = borders.merging.grid.n * borders.blocks.entries
    twice = borders.blocks.windows(borders.merging) - windows
    if not twice:
        return "recompute"
    folder.mkdir(parents=True, exist_ok=True)
    size = handed_bytes(borders, probe)
    if shutil.disk_usage(folder).free < size:
        return "recompute"
    a_byte, a_file = file_seconds(folder)
    exchange = size * a_byte + len(borders.blocks) * _FILES_A_BLOCK * a_file
    recompute = twice * window_seconds(model, source, borders, call)
    return "exchange" if exchange < recompute else "recompute"


def file_seconds(folder: Path) -> tuple[float, float]:
    """Seconds to write, synchronise and read a byte in a folder, and those of a file."""
    sample = np.random.default_rng(0).bytes(_SAMPLE)
    times = []
    for data in (sample[:1], sample[:1], sample):
        began = perf_counter()
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            file.read()
        times.append(perf_counter() - began)
    return times[2] / _SAMPLE, min(times[:2])


def window_seconds(
    model: Callable[..., Any], source: Source, borders: Borders, call: Call
) -> float:
    """Seconds of a window, cut and sent through the model, of some along the last axis."""
    grid = borders.merging.grid
    count = min(call.batch_size, grid.counts[-1])
    windows = (*[slice(0, 1)] * (len(grid.shape) - 1), slice(0, count))
    array = open_volume(source.path, source.level)
    held = HeldVolume(array, source.layout, 0, grid, windows)
    feeder = Feeder(model, held, grid, call._replace(chosen=window_numbers(grid, windows)))
    times = []
    with feeder.no_gradients():
        for _ in range(2):
            began = perf_counter()
            feeder.outputs(model, 0, min(feeder.batch_size, count))
            times.append(perf_counter() - began)
    return min(times) / prod(run.stop - run.start for run in windows)


__all__ = ["BorderMode", "border_mode", "file_seconds", "handed_bytes", "window_seconds"]
