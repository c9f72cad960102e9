"""512^3 positions, and workers that are killed in a block: the bits of one process."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import volume_cases

from tokfrag import FragmentGrid
from tokfrag.scale import map_volume, verify_volume

FIRE = 240.0


def test_workers_killed_in_a_block(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    grid = FragmentGrid((512, 512, 512), size=128, stride=96)
    x = np.random.default_rng(0).integers(0, 256, grid.shape, np.uint8)
    zarr.create_array(tmp_path / "src", data=x, chunks=(128, 128, 128), compressors=None)
    (tmp_path / "log").mkdir()
    model = volume_cases.KilledInABlock(str(tmp_path / "log"), 2, model=volume_cases.changes)
    began = time.monotonic()
    made = map_volume(
        model,
        tmp_path / "src",
        tmp_path / "dst",
        grid,
        block=(256, 256, 256),
        batch_size=4,
        workers=2,
        progress=False,
    )
    assert time.monotonic() - began < FIRE
    assert (tmp_path / "log" / "killed-1").exists()
    assert made.run == 216  # of the blocks' records: those that were killed have none
    assert verify_volume(tmp_path / "dst") == 8
    expected = volume_cases.whole(volume_cases.changes, x, grid)
    assert np.array_equal(zarr.open_array(tmp_path / "dst", mode="r")[:], expected)
