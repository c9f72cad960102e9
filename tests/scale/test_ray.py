"""Ray Core under fire, on this machine. Collected where ray is installed."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import volume_cases
from scale_cases import OPTIONS, UnderFire, killed_driver, sums, tokenizer

from tokfrag import FragmentGrid
from tokfrag.scale import RayEngine, encode_corpus, map_volume

FIRE = 120.0

pytestmark = pytest.mark.filterwarnings("ignore")  # of ray's own start


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
            object_store_memory=100 << 20,
        )
        yield
        ray.shutdown()


def test_a_worker_killed_twice(
    cluster: None, paths: list[Path], serial: Path, tmp_path: Path
) -> None:
    engine = UnderFire(RayEngine(), tmp_path / "log", kills=(1, 3))
    began = time.monotonic()
    out = encode_corpus(tokenizer(), paths, tmp_path / "out", engine=engine, **OPTIONS)
    assert time.monotonic() - began < FIRE
    assert sums(out) == sums(serial)
    assert len(engine.attempts()) == len(list(out.glob("*.bin"))) + 2


def test_goes_on_with_what_another_engine_began(
    cluster: None, paths: list[Path], serial: Path, tmp_path: Path
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    killed_driver(paths, out, log)
    engine = UnderFire(RayEngine(), log)
    encode_corpus(tokenizer(), paths, out, engine=engine, **OPTIONS)
    assert sums(out) == sums(serial)
    assert len(engine.attempts()) <= len(list(out.glob("*.bin"))) + 2


def test_a_changed_part_is_found_by_the_workers(
    cluster: None, paths: list[Path], serial: Path, tmp_path: Path
) -> None:
    shutil.copytree(serial, out := tmp_path / "out")
    data = bytearray((out / "000002.bin").read_bytes())
    data[7] ^= 1
    (out / "000002.bin").write_bytes(data)
    with pytest.raises(ValueError, match="part 000002 is not what was written"):
        encode_corpus(tokenizer(), paths, out, engine="ray", **OPTIONS)
    (out / "000002.json").unlink()
    encode_corpus(tokenizer(), paths, out, engine="ray", **OPTIONS)
    assert sums(out) == sums(serial)


def test_errors_are_those_of_the_work(cluster: None, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{")
    with pytest.raises(ValueError, match="line 1: not JSON"):
        encode_corpus(tokenizer(), tmp_path / "a.jsonl", tmp_path / "out", engine="ray", **OPTIONS)


def test_map_batches(cluster: None) -> None:
    texts = ["Word one", "再见 ab"] * 20

    def encoded(table: Any) -> Any:
        ids = tokenizer().encode_batch(table["text"], threads=1).to_arrow()
        return table.append_column("ids", ids)

    dataset = ray.data.from_items([{"n": n, "text": text} for n, text in enumerate(texts)])
    rows = dataset.map_batches(encoded, batch_format="pyarrow", batch_size=7).take_all()
    wanted = [ids.tolist() for ids in tokenizer().encode_batch(texts)]
    assert [list(row["ids"]) for row in sorted(rows, key=lambda row: row["n"])] == wanted


@pytest.mark.parametrize("borders", ["recompute", "exchange"])
def test_a_worker_killed_in_a_block(cluster: None, tmp_path: Path, borders: str) -> None:
    zarr = pytest.importorskip("zarr")
    grid = FragmentGrid((64, 64, 64), size=16, stride=12, edge="shift")
    x = volume_cases.volume(grid.shape)
    zarr.create_array(tmp_path / "src", data=x, chunks=(16, 16, 16))
    (tmp_path / "log").mkdir()
    model = volume_cases.KilledInABlock(str(tmp_path / "log"), times=2)
    options: dict[str, Any] = {"block": (32, 32, 32), "batch_size": 8, "progress": False}
    options["borders"] = borders
    map_volume(model, tmp_path / "src", tmp_path / "dst", grid, engine="ray", **options)
    assert (tmp_path / "log" / "killed-1").exists()
    expected = volume_cases.whole(volume_cases.smoothed, x, grid)
    assert np.array_equal(zarr.open_array(tmp_path / "dst", mode="r")[:], expected)
