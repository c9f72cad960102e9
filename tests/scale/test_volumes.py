"""Volumes on disk: the bits of one process, whoever is killed; metadata and levels kept."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import volume_cases as cases
import zarr

from tokfrag import FragmentGrid, plan_fragments
from tokfrag.scale import LocalEngine, map_volume, verify_volume, volume_records
from tokfrag.scale.volume_records import records_folder

FIRE = 60.0  # seconds after which a test under fire has failed

GRID = FragmentGrid((50, 44, 40), size=(16, 12, 16), stride=(8, 8, 8))


def source(
    path: Path,
    x: Any,
    *,
    zarr_format: Any = 3,
    chunks: Any = (16, 16, 16),
    shards: Any = None,
) -> Path:
    lead = (1,) * (x.ndim - len(chunks))
    options = {} if shards is None else {"shards": (*lead, *shards)}
    zarr.create_array(path, data=x, chunks=(*lead, *chunks), zarr_format=zarr_format, **options)
    return path


def image(path: Path, x: Any, zarr_format: Any, axes: str, levels: int = 3) -> Path:
    """An OME-Zarr image with levels of half the size."""
    group = zarr.create_group(path, zarr_format=zarr_format)
    types = {"t": "time", "c": "channel"}
    datasets = []
    for level in range(levels):
        step = 2**level
        lead = (slice(None),) * (len(axes) - 3)
        values = x[(*lead, *3 * [slice(None, None, step)])]
        chunks = (*[1] * len(lead), *(min(16, n) for n in values.shape[-3:]))
        group.create_array(f"s{level}", data=values, chunks=chunks)
        scale = [*[1.0] * len(lead), 2.0 * step, 0.5 * step, 0.5 * step]
        transforms = [{"type": "scale", "scale": scale}]
        datasets.append({"path": f"s{level}", "coordinateTransformations": transforms})
    named = [{"name": a, "type": types.get(a, "space"), "unit": "um"} for a in axes]
    scales = [{"axes": named, "datasets": datasets, "name": "cells", "version": "0.4"}]
    if zarr_format == 2:
        group.attrs.update({"multiscales": scales, "omero": {"channels": [{"label": "x"}]}})
    else:
        group.attrs.update({"ome": {"version": "0.5", "multiscales": scales}})
    return path


@pytest.mark.parametrize(("zarr_format", "shards"), [(2, None), (3, None), (3, (32, 16, 32))])
def test_arrays_have_the_bits_of_one_process(tmp_path: Path, zarr_format: int, shards: Any) -> None:
    x = cases.volume(GRID.shape)
    src = source(tmp_path / "src", x, zarr_format=zarr_format, shards=shards)
    made = map_volume(
        cases.smoothed, src, tmp_path / "dst", GRID, workers=1, batch_size=3, **cases.OPTIONS
    )
    result = zarr.open_array(tmp_path / "dst", mode="r")
    assert np.array_equal(result[:], cases.whole(cases.smoothed, x, GRID))
    assert result.chunks == (16, 16, 16)
    assert result.metadata.zarr_format == zarr_format
    assert result.shards == shards
    assert made.measured == made.predicted > 1
    assert verify_volume(tmp_path / "dst") == made.blocks > 4
    assert f"{made.predicted:.3f}x predicted" in str(made)


@pytest.mark.parametrize("model", [cases.smoothed, cases.two_channels])
@pytest.mark.parametrize("shape", [(2, *GRID.shape), (3, 2, *GRID.shape)])
def test_batches_and_channels(tmp_path: Path, model: Any, shape: tuple[int, ...]) -> None:
    x = cases.volume(shape)
    src = source(tmp_path / "src", x)
    map_volume(model, src, tmp_path / "dst", GRID, workers=1, **cases.OPTIONS)
    result = zarr.open_array(tmp_path / "dst", mode="r")[:]
    entries = x if x.ndim == 5 else x[None]
    for entry, own in zip(entries, result if x.ndim == 5 else result[None], strict=True):
        assert np.array_equal(own, cases.whole(model, entry, GRID))


def test_files_of_numpy(tmp_path: Path) -> None:
    x = cases.volume(GRID.shape)
    np.save(tmp_path / "src.npy", x)
    options = {"workers": 1, "reduce_slab": cases.strongest, **cases.OPTIONS}
    made = map_volume(
        cases.two_channels,
        tmp_path / "src.npy",
        tmp_path / "dst.npy",
        GRID,
        block=(20, 20, 20),
        **options,
    )
    result = np.load(tmp_path / "dst.npy")
    expected = cases.whole(cases.two_channels, x, GRID, reduce_slab=cases.strongest)
    assert result.dtype == np.uint8
    assert np.array_equal(result, expected)
    assert made.blocks == 3 * 3 * 2
    assert not list(tmp_path.rglob("*.partial"))


def test_integers_are_rounded_and_saturated(tmp_path: Path) -> None:
    grid = FragmentGrid(GRID.shape, size=16, stride=8, edge="shift")
    x = cases.volume(GRID.shape) * 100
    src = source(tmp_path / "src", x)
    options = {"dtype": "int8", "halo": "valid", "workers": 1, **cases.OPTIONS}
    map_volume(cases.middle, src, tmp_path / "dst", grid, **options)
    out = np.zeros((1, 1, *GRID.shape), np.int8)
    cases.whole(cases.middle, x, grid, halo="valid", out=out)
    assert (out.min(), out.max()) == (-128, 127)
    assert np.array_equal(zarr.open_array(tmp_path / "dst", mode="r")[:], out[0, 0])


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("axes", ["zyx", "czyx", "tczyx", "tzyx"])
def test_images_keep_their_metadata_and_levels(tmp_path: Path, zarr_format: int, axes: str) -> None:
    x = cases.volume((*[2] * (len(axes) - 3), *GRID.shape))
    src = image(tmp_path / "src", x, zarr_format, axes)
    map_volume(cases.smoothed, src, tmp_path / "dst", GRID, workers=1, **cases.OPTIONS)
    before, after = (zarr.open_group(tmp_path / name, mode="r") for name in ("src", "dst"))
    scales = dict(after.attrs).get("ome", dict(after.attrs))["multiscales"]
    assert scales == dict(before.attrs).get("ome", dict(before.attrs))["multiscales"]
    for level in range(3):
        assert after[f"s{level}"].shape == before[f"s{level}"].shape
        assert after[f"s{level}"].metadata.zarr_format == zarr_format
    fine, coarse = after["s0"][:], after["s1"][:]
    corner = fine[..., 8:10, 4:6, 2:4].astype(np.float64).mean((-3, -2, -1))
    assert np.array_equal(coarse[..., 4, 2, 1], corner.astype(np.float32))
    last = fine[..., -2:, -2:, -2:].astype(np.float64).mean((-3, -2, -1))
    assert np.array_equal(coarse[..., -1, -1, -1], last.astype(np.float32))
    entry = x if axes != "tzyx" else x[0]
    entry = entry[0] if axes == "tczyx" else entry
    own = fine[0] if axes[0] == "t" else fine
    assert np.array_equal(own, cases.whole(cases.smoothed, entry, GRID))


def test_a_channel_axis_is_added_where_a_model_makes_several(tmp_path: Path) -> None:
    src = image(tmp_path / "src", cases.volume(GRID.shape), 3, "zyx")
    map_volume(cases.two_channels, src, tmp_path / "dst", GRID, workers=1, **cases.OPTIONS)
    group = zarr.open_group(tmp_path / "dst", mode="r")
    (scales,) = dict(group.attrs)["ome"]["multiscales"]
    assert [axis["name"] for axis in scales["axes"]] == ["c", "z", "y", "x"]
    transforms = scales["datasets"][1]["coordinateTransformations"]
    assert transforms == [{"type": "scale", "scale": [1.0, 4.0, 1.0, 1.0]}]
    assert group["s2"].shape == (2, 13, 11, 10)


def test_a_coarser_level_is_read_and_labels_are_not_averaged(tmp_path: Path) -> None:
    x = cases.volume((100, 88, 80))
    src = image(tmp_path / "src", x, 2, "zyx")
    options = {"reduce": "vote", "window": "uniform", "level": 1, **cases.OPTIONS}
    map_volume(cases.signs, src, tmp_path / "dst", GRID, workers=1, **options)
    group = zarr.open_group(tmp_path / "dst", mode="r")
    fine, coarse = group["s1"][:], group["s2"][:]
    assert np.array_equal(coarse, fine[::2, ::2, ::2])
    assert "s0" not in group
    assert "omero" not in dict(group.attrs)


def test_a_worker_killed_in_a_block(tmp_path: Path) -> None:
    grid = FragmentGrid((128, 128, 128), size=32, stride=24, edge="shift")
    x = cases.volume(grid.shape)
    src = source(tmp_path / "src", x, chunks=(32, 32, 32))
    serial = map_volume(cases.smoothed, src, tmp_path / "serial", grid, workers=1, **cases.OPTIONS)
    (tmp_path / "log").mkdir()
    model = cases.KilledInABlock(str(tmp_path / "log"), times=2)
    began = time.monotonic()
    made = map_volume(
        model, src, tmp_path / "dst", grid, engine=LocalEngine(2), batch_size=4, **cases.OPTIONS
    )
    assert time.monotonic() - began < FIRE
    assert (tmp_path / "log" / "killed-1").exists()
    assert made.run == serial.run
    assert cases.files(tmp_path / "dst") == cases.files(tmp_path / "serial")
    expected = cases.whole(cases.smoothed, x, grid)
    assert np.array_equal(zarr.open_array(tmp_path / "dst", mode="r")[:], expected)


DRIVER = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
import volume_cases as cases
from test_volumes import GRID
from tokfrag.scale import LocalEngine, map_volume
model = cases.KilledInABlock(sys.argv[4], 0, float(sys.argv[5]))
map_volume(model, sys.argv[2], sys.argv[3], GRID, engine=LocalEngine(1), name="m",
           window="uniform", borders=sys.argv[6], **cases.OPTIONS)
"""


def driver(
    src: Path, dst: Path, log: Path, seconds: float, borders: str
) -> subprocess.Popen[bytes]:
    log.mkdir()
    places = [json.dumps(sys.path), str(src), str(dst), str(log), str(seconds), borders]
    return subprocess.Popen([sys.executable, "-c", DRIVER, *places], stderr=subprocess.PIPE)


@pytest.mark.parametrize("borders", ["recompute", "exchange"])
def test_the_driver_killed_and_called_again_and_two_at_once(tmp_path: Path, borders: str) -> None:
    src = image(tmp_path / "src", cases.volume(GRID.shape), 3, "zyx")
    options = {"name": "m", "window": "uniform", **cases.OPTIONS}
    none = cases.KilledInABlock(str(tmp_path), times=0)
    map_volume(none, src, tmp_path / "serial", GRID, workers=1, **options)
    records = records_folder(str(tmp_path / "dst"))
    process = driver(src, tmp_path / "dst", tmp_path / "log", 0.02, borders)
    stop = time.monotonic() + FIRE
    while len(list(records.glob("0*.json"))) < 2:
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < stop
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=FIRE)
    both = [driver(src, tmp_path / "dst", tmp_path / f"log{n}", 0.0, borders) for n in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=FIRE)
        assert process.returncode == 0, errors.decode()
    assert cases.files(tmp_path / "dst") == cases.files(tmp_path / "serial")
    options["borders"] = borders
    made = map_volume(none, src, tmp_path / "dst", GRID, workers=1, **options)
    assert made.again == made.blocks
    assert not list(records.glob("*.np*"))


def test_goes_on_and_refuses_what_is_another_plan(tmp_path: Path) -> None:
    x = cases.volume(GRID.shape)
    src, dst = source(tmp_path / "src", x), tmp_path / "dst"
    engine = cases.Stopping(LocalEngine(1), 3)
    with pytest.raises(InterruptedError):
        map_volume(cases.smoothed, src, dst, GRID, engine=engine, **cases.OPTIONS)
    with pytest.raises(ValueError, match="is not done"):
        verify_volume(dst)
    with pytest.raises(ValueError, match=r"of blocks with window 'gaussian', not 'uniform'"):
        map_volume(cases.smoothed, src, dst, GRID, workers=1, window="uniform", **cases.OPTIONS)
    with pytest.raises(ValueError, match="of blocks with model"):
        map_volume(
            cases.signs, src, dst, GRID, workers=1, reduce="mean", dtype="float32", **cases.OPTIONS
        )
    with pytest.raises(FileExistsError, match="resume=True goes on"):
        map_volume(cases.smoothed, src, dst, GRID, workers=1, resume=False, **cases.OPTIONS)
    made = map_volume(cases.smoothed, src, dst, GRID, workers=1, **cases.OPTIONS)
    assert 3 <= made.again < made.blocks
    assert np.array_equal(zarr.open_array(dst)[:], cases.whole(cases.smoothed, x, GRID))


def test_damage_is_named_and_what_is_gone_is_made_again(tmp_path: Path) -> None:
    src, dst = source(tmp_path / "src", cases.volume(GRID.shape)), tmp_path / "dst"
    made = map_volume(cases.smoothed, src, dst, GRID, workers=1, **cases.OPTIONS)
    sums = cases.files(dst)
    array = zarr.open_array(dst, mode="r+")
    array[20, 20, 20] = 9
    with pytest.raises(
        ValueError, match=r"block \d+ is not what was written; without dst\.blocks/"
    ) as told:
        verify_volume(dst)
    (tmp_path / str(told.value).split("without ")[1].split()[0]).unlink()
    map_volume(cases.smoothed, src, dst, GRID, workers=1, **cases.OPTIONS)
    assert cases.files(dst) == sums
    dst.rename(tmp_path / "away")
    again = map_volume(cases.smoothed, src, dst, GRID, workers=1, **cases.OPTIONS)
    assert again.again == 0
    assert again.blocks == made.blocks
    assert cases.files(dst) == sums


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": FragmentGrid((50, 44, 41), 8)}, r"src: got shape \(50, 44, 40\), takes"),
        ({"grid": FragmentGrid(GRID.shape, 8, padding=1)}, "takes one without offset and padding"),
        ({"grid": 8}, "grid: got int"),
        ({"src": "none"}, "no zarr array or group"),
        ({"src": "short.npy"}, "not a whole .npy file"),
        ({"src": "group"}, "a group without `multiscales`"),
        ({"src": "outside"}, r"got the dataset path '\.\./src'"),
        ({"level": 1}, "level: got 1 for an array"),
        ({"dst": "src"}, "takes another place than src"),
        ({"dst": "other"}, r"has shape \(4,\), takes"),
        ({"block": (10, 16, 16)}, r"takes multiples of \(16, 16, 16\)"),
        ({"block": (16, 16)}, "takes a length for each of 3 axes"),
        ({"chunks": (16,)}, "takes a length for each of 3 axes"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"reduce": "average"}, "reduce: got 'average'"),
        ({"reduce": "vote"}, "window|labels"),
        ({"halo": 7}, "positions without a result|leaves"),
        ({"pyramid": "sharp"}, "pyramid: got 'sharp'"),
        ({"model": cases.signs}, "may be labels"),
        ({"model": cases.strongest}, "may be labels|labels"),
        ({"model": lambda x: (x, x)}, "model: got tuple"),
        ({"model": lambda x: x.mean((2, 3, 4))}, "takes one output of"),
        ({"engine": "slurm", "workers": None}, "engine: got 'slurm'"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    source(tmp_path / "src", cases.volume(GRID.shape))
    zarr.create_group(tmp_path / "group")
    zarr.create_array(tmp_path / "other", shape=(4,), dtype="f4")
    scales = [{"axes": [{"name": "z"}], "datasets": [{"path": "../src"}]}]
    zarr.create_group(tmp_path / "outside", attributes={"ome": {"multiscales": scales}})
    np.save(tmp_path / "whole.npy", cases.volume(GRID.shape))
    (tmp_path / "short.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:5000])
    given = {"model": cases.smoothed, "src": "src", "dst": "dst", "grid": GRID, **options}
    model, src, dst, grid = (given.pop(key) for key in ("model", "src", "dst", "grid"))
    given = {"workers": 1, **cases.OPTIONS, **given}
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        map_volume(model, tmp_path / src, tmp_path / dst, grid, **given)
    assert not (tmp_path / "dst").exists()
    assert not (tmp_path / "dst.blocks").exists()


def test_an_error_of_the_model_leaves_what_is_done(tmp_path: Path) -> None:
    src = source(tmp_path / "src", cases.volume(GRID.shape))

    calls = []

    def model(fragments: Any) -> Any:
        calls.append(1)
        if len(calls) == 40:
            raise RuntimeError("a fault")
        return cases.smoothed(fragments)

    options = {"workers": 1, "batch_size": 8, **cases.OPTIONS}
    with pytest.raises(RuntimeError, match="a fault"):
        map_volume(model, src, tmp_path / "dst", GRID, **options)
    made = map_volume(model, src, tmp_path / "dst", GRID, **options)
    assert 0 < made.again < made.blocks


def test_plans_bring_their_batch_and_halo(tmp_path: Path) -> None:
    plan = plan_fragments(
        GRID.shape, "float32", receptive_field=3, memory_limit=1 << 20, bandwidth=1e9, latency=1e-5
    )
    x = cases.volume(GRID.shape)
    src = source(tmp_path / "src", x)
    made = map_volume(
        cases.smoothed, src, tmp_path / "dst", plan, workers=1, window="uniform", **cases.OPTIONS
    )
    expected = cases.whole(cases.smoothed, x, plan.best.grid, window="uniform", halo=plan.best.halo)
    assert np.array_equal(zarr.open_array(tmp_path / "dst")[:], expected)
    assert made.windows == plan.best.grid.n


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    src = source(tmp_path / "src", cases.volume(GRID.shape))
    with pytest.raises(OSError, match=os.sep + "proc"):
        map_volume(cases.smoothed, src, "/proc/tokfrag", GRID, workers=1, **cases.OPTIONS)


def test_what_a_call_has_only_begun_stops_no_other(tmp_path: Path) -> None:
    x = cases.volume(GRID.shape)
    src, dst = image(tmp_path / "src", x, 3, "zyx"), tmp_path / "dst"
    zarr.create_group(dst)  # killed before there was an array
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError), match=r"lambda|pickle"):
        map_volume(lambda f: f, src, dst, GRID, engine=LocalEngine(2), **cases.OPTIONS)
    made = map_volume(cases.smoothed, src, dst, GRID, workers=1, **cases.OPTIONS)
    assert made.again == 0
    result = zarr.open_group(dst, mode="r")["s0"][:]
    assert np.array_equal(result, cases.whole(cases.smoothed, x, GRID))
    group = zarr.create_group(tmp_path / "other", attributes={"kind": "tables"})
    with pytest.raises(ValueError, match=r"dst: .* a group without `multiscales`"):
        map_volume(cases.smoothed, src, tmp_path / "other", GRID, workers=1, **cases.OPTIONS)
    assert not list(group)


def test_a_chunk_that_is_cut_short_is_an_error(tmp_path: Path) -> None:
    src = source(tmp_path / "src", cases.volume(GRID.shape))
    chunk = src / "c" / "1" / "1" / "1"
    chunk.write_bytes(chunk.read_bytes()[:-200])
    with pytest.raises(Exception, match=r"(?i)zstd|decompress|src|size"):
        map_volume(cases.smoothed, src, tmp_path / "dst", GRID, workers=1, **cases.OPTIONS)
    records = list(records_folder(str(tmp_path / "dst")).glob("0*.json"))
    assert len(records) < planned(tmp_path / "dst")


def planned(dst: Path) -> int:
    plan = json.loads((records_folder(str(dst)) / "plan.json").read_text())
    parts: int = plan["parts"]
    return parts


def test_a_faster_call_that_removes_what_is_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another call finishes while a record is written: the block is none the less done."""
    src, dst = source(tmp_path / "src", cases.volume(GRID.shape)), tmp_path / "dst"
    first = map_volume(cases.smoothed, src, dst, GRID, workers=1, **cases.OPTIONS)
    records = records_folder(str(dst))
    done = {path.name: path.read_bytes() for path in records.glob("0*.json")}
    for name in done:
        (records / name).unlink()
    plain = volume_records.whole_file

    @contextmanager
    def overtaken(path: Path) -> Iterator[Any]:
        with plain(path) as file:
            yield file
            path.write_bytes(done[path.name])
            for partial in records.glob("*.partial"):
                partial.unlink()

    monkeypatch.setattr(volume_records, "whole_file", overtaken)
    made = map_volume(cases.smoothed, src, dst, GRID, workers=1, **cases.OPTIONS)
    assert made.blocks == first.blocks == verify_volume(dst)


def times(x: Any, factor: Any) -> Any:
    return x * factor


class Times:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def state_dict(self) -> dict[str, Any]:
        return {"factor": self.factor}

    def run(self, x: Any) -> Any:
        return x * self.factor


@pytest.mark.parametrize(
    "model",
    [
        lambda factor: partial(times, factor=factor),
        lambda factor: partial(times, factor=np.float32([factor])),
        lambda factor: partial(Times.run, Times(factor)),
        lambda factor: Times(factor).run,
    ],
)
def test_models_with_other_arguments_are_others(model: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones(8, np.float32))
    arguments = (tmp_path / "a.npy", tmp_path / "b.npy", FragmentGrid((8,), size=4))
    map_volume(model(2), *arguments, workers=1, progress=False)
    assert map_volume(model(2), *arguments, workers=1, progress=False).again == 1
    with pytest.raises(ValueError, match="is of blocks with model"):
        map_volume(model(3), *arguments, workers=1, progress=False)
