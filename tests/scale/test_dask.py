"""Dask distributed under fire, on this machine. Collected where distributed is installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import distributed
import numpy as np
import pytest
import volume_cases
from scale_cases import OPTIONS, UnderFire, killed_driver, sums, tokenizer

from tokfrag import FragmentGrid
from tokfrag.scale import DaskEngine, encode_corpus, map_volume

FIRE = 120.0

pytestmark = pytest.mark.filterwarnings("ignore")  # of distributed, when its processes are killed


def start() -> Any:
    return distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
    )


@pytest.fixture
def client() -> Iterator[Any]:
    with start() as cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client


def test_a_workers_process_killed(
    client: Any, paths: list[Path], serial: Path, tmp_path: Path
) -> None:
    engine = UnderFire(DaskEngine(client=client), tmp_path / "log", kills=(1, 3))
    began = time.monotonic()
    out = encode_corpus(tokenizer(), paths, tmp_path / "out", engine=engine, **OPTIONS)
    assert time.monotonic() - began < FIRE
    assert sums(out) == sums(serial)
    assert len(engine.attempts()) == len(list(out.glob("*.bin"))) + 2


def test_goes_on_with_what_another_engine_began(
    client: Any, paths: list[Path], serial: Path, tmp_path: Path
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    killed_driver(paths, out, log)
    engine = UnderFire(DaskEngine(client=client), log)
    encode_corpus(tokenizer(), paths, out, engine=engine, **OPTIONS)
    assert sums(out) == sums(serial)
    assert len(engine.attempts()) <= len(list(out.glob("*.bin"))) + 2


@contextmanager
def processes(folder: Path) -> Iterator[tuple[Any, list[subprocess.Popen[bytes]]]]:
    """A client of a scheduler and two workers, each a process of its own; the scheduler first."""
    place = folder / "scheduler.json"
    options = ["--scheduler-file", str(place), "--host", "127.0.0.1", "--no-dashboard"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    commands = [["dask_scheduler", "--port", "0"], *2 * [["dask_worker", "--nthreads", "1"]]]
    begun = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{name}", *rest, *options],
            env=environment,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for name, *rest in commands
    ]
    try:
        with distributed.Client(
            scheduler_file=str(place), set_as_default=False, timeout=FIRE
        ) as client:
            client.wait_for_workers(2, timeout=FIRE)
            yield client, begun
    finally:
        for process in begun:
            os.killpg(process.pid, signal.SIGKILL)  # of a worker, its nanny's child too
            process.wait()


class KillingScheduler:
    """An engine whose scheduler is killed after the second part."""

    def __init__(self, engine: Any, scheduler: subprocess.Popen[bytes]) -> None:
        self.engine = engine
        self.scheduler = scheduler

    def run(self, work: Any, parts: Any) -> Iterator[Any]:
        for number, done in enumerate(self.engine.run(work, parts)):
            if number == 1:
                self.scheduler.kill()
            yield done


def test_the_scheduler_killed_and_the_call_made_again(
    paths: list[Path], serial: Path, tmp_path: Path
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
        processes(tmp_path) as (client, begun),
    ):
        engine = KillingScheduler(UnderFire(DaskEngine(client=client), log, seconds=0.5), begun[0])
        with pytest.raises((OSError, RuntimeError, distributed.CancelledError)):
            encode_corpus(tokenizer(), paths, out, engine=engine, **OPTIONS)
    assert 0 < len(list(out.glob("0*.json"))) < len(list(serial.glob("0*.json")))
    encode_corpus(tokenizer(), paths, out, engine="dask", workers=2, **OPTIONS)
    assert sums(out) == sums(serial)


@pytest.mark.parametrize("borders", ["recompute", "exchange"])
def test_a_worker_killed_in_a_block(client: Any, tmp_path: Path, borders: str) -> None:
    zarr = pytest.importorskip("zarr")
    grid = FragmentGrid((64, 64, 64), size=16, stride=12, edge="shift")
    x = volume_cases.volume(grid.shape)
    zarr.create_array(tmp_path / "src", data=x, chunks=(16, 16, 16))
    (tmp_path / "log").mkdir()
    model = volume_cases.KilledInABlock(str(tmp_path / "log"), times=2)
    options: dict[str, Any] = {"block": (32, 32, 32), "batch_size": 8, "progress": False}
    options["borders"] = borders
    engine = DaskEngine(client=client)
    map_volume(model, tmp_path / "src", tmp_path / "dst", grid, engine=engine, **options)
    assert (tmp_path / "log" / "killed-1").exists()
    expected = volume_cases.whole(volume_cases.smoothed, x, grid)
    assert np.array_equal(zarr.open_array(tmp_path / "dst", mode="r")[:], expected)
