"""Fragments over gloo processes on this machine against one process: the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag.fragments import FragmentGrid, GridShards
from tokfrag.fragments.distributed.shards import shared_positions

torch = pytest.importorskip("torch")
if not torch.distributed.is_available():
    pytest.skip("torch was built without distributed", allow_module_level=True)


def run_processes(count: int, folder: Path, case: str) -> None:
    """`distributed_cases.py`, one case, on `count` processes with a hard time limit."""
    script = Path(__file__).parent / "distributed_cases.py"
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), case, str(rank), str(count), str(folder / "meet")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for rank in range(count)
    ]
    try:
        told = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    codes = [process.returncode for process in processes]
    assert codes == [0] * count, "\n".join(told)


@pytest.mark.parametrize(
    ("case", "count"),
    [("random", 2), ("random", 4), ("gradients", 2), ("refusals", 2), ("ends", 3)],
)
def test_processes(case: str, count: int, tmp_path: Path) -> None:
    run_processes(count, tmp_path, case)


@st.composite
def sharded_grids(draw):
    rank = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(0, 12)) for _ in range(rank))
    size = tuple(draw(st.integers(1, max(length, 1))) for length in shape)
    stride = tuple(draw(st.integers(1, 5)) for _ in range(rank))
    grid = FragmentGrid(shape, size, stride, edge=draw(st.sampled_from(["pad", "shift"])))
    return grid, draw(st.integers(1, 9))


@given(sharded_grids())
def test_every_window_and_position_has_one_owner(problem):
    grid, workers = problem
    shards = GridShards(grid, workers)
    windows, positions = np.zeros(grid.counts, int), np.zeros(grid.shape, int)
    for rank in range(workers):
        windows[shards.windows(rank)] += 1
        positions[shards.region(rank)] += 1
        assert shards.counts(rank) == windows[shards.windows(rank)].shape
        assert shards.shape(rank) == positions[shards.region(rank)].shape
    assert (windows == 1).all()
    assert (positions == 1).all()


def test_the_split_cuts_where_least_is_shared():
    grid = FragmentGrid((64, 64), size=(8, 8), stride=(4, 8))
    assert GridShards(grid, 2).split == (1, 2)
    assert shared_positions(grid, (2, 1)) == 4 * 64
    assert GridShards(FragmentGrid((64, 64), 8, 4), 2).split == (2, 1)
    assert GridShards(FragmentGrid((8,), 4), 5).split == (2,)


@pytest.mark.parametrize(
    ("split", "error", "message"),
    [
        ((2,), ValueError, "split"),
        ((0, 1), ValueError, "split"),
        ((3, 2), ValueError, "6 blocks"),
        ((1, 4), ValueError, "counts"),
        (("a", 1), TypeError, "split"),
    ],
)
def test_wrong_splits_are_refused(split, error, message):
    with pytest.raises(error, match=message):
        GridShards(FragmentGrid((8, 8), (2, 4)), 4, split)


def test_wrong_workers_and_ranks_are_refused():
    grid = FragmentGrid((8,), 4)
    with pytest.raises(ValueError, match="workers"):
        GridShards(grid, 0)
    with pytest.raises(TypeError, match="grid"):
        GridShards((8,), 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rank"):
        GridShards(grid, 2).windows(2)


def test_without_a_process_group():
    from tokfrag import gather_merge, scatter_fragments

    grid = FragmentGrid((8,), 4)
    for call in (scatter_fragments, gather_merge):
        with pytest.raises(RuntimeError, match="init_process_group"):
            call(np.zeros((1, 1, 8)), grid)
