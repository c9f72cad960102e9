"""Borders that blocks hand on: each window run once, and the bits of all windows together."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import volume_cases as cases
import zarr
from hypothesis import given, settings, strategies as st
from test_volume_blocks import axes
from test_volumes import GRID, image, source

from tokfrag import FragmentGrid, map_fragments
from tokfrag.scale import LocalEngine, map_volume, verify_volume, volume_costs
from tokfrag.scale.volume_blocks import Blocks, Merging
from tokfrag.scale.volume_borders import Borders
from tokfrag.scale.volume_handing import handed_paths
from tokfrag.scale.volume_records import records_folder

EXCHANGE: dict[str, Any] = {"borders": "exchange", **cases.OPTIONS}


@given(case=axes(), seed=st.integers(0, 9))
def test_each_window_has_one_block_and_each_position_one_box(
    case: dict[str, Any], seed: int
) -> None:
    del seed
    grid: FragmentGrid = case["grid"]
    borders = Borders(
        Merging.of(grid, grid.size, "uniform", "mean", None), Blocks(grid.shape, case["block"], 2)
    )
    each = len(borders.blocks) // 2
    runs = np.zeros(grid.n, int)
    seen = np.zeros(grid.shape, int)
    for number in range(each, 2 * each):
        windows = borders.windows(number)
        mesh = np.ix_(*(np.arange(run.start, run.stop) for run in windows))
        own = np.ravel_multi_index(mesh, grid.counts).reshape(-1)
        runs[own] += 1
        assert (borders.owners(1, own) == number).all()
        assert set(borders.kept(number)) <= set(own.tolist())
        inner = borders.inner(number)
        for box in [*borders.frame(number), *([] if inner is None else [inner])]:
            seen[box] += 1
        for box in borders.frame(number):
            found = borders.merging.part(box)
            if found is None:
                continue
            mesh = np.ix_(*(np.arange(run.start, run.stop) for run in found[0].windows))
            reach = np.ravel_multi_index(mesh, grid.counts).reshape(-1)
            owners = borders.owners(1, reach)
            assert set(owners.tolist()) <= set(borders.sources(number))
            for owner in set(owners.tolist()):
                assert number in borders.readers(owner)
                assert set(reach[owners == owner].tolist()) <= set(borders.kept(owner).tolist())
        for other in borders.sources(number):
            assert number in borders.readers(other)
    assert (runs == 1).all()
    assert (seen == 1).all()


@settings(max_examples=25)  # each writes and synchronises files
@given(
    case=axes(),
    reduce=st.sampled_from(["mean", "sum", "max", "min", "median"]),
    seed=st.integers(0, 9),
    batch=st.integers(1, 6),
    dtype=st.sampled_from([np.float32, np.float64]),
    window=st.sampled_from(["gaussian", "numbers"]),
)
def test_exchanged_borders_have_the_bits_of_the_whole(
    case: dict[str, Any], reduce: Any, seed: int, batch: int, dtype: Any, window: Any
) -> None:
    grid = case["grid"]
    x = cases.volume((2, *grid.shape), seed).astype(dtype)
    if reduce not in ("mean", "sum"):
        window = "uniform"
    elif window == "numbers":
        window = [np.random.default_rng(seed).uniform(0.1, 1, size) for size in grid.size]
    options = {"window": window, "reduce": reduce}
    expected = map_fragments(cases.smoothed, x[None], grid, batch_size=3, **options)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "src.npy", x)
        made = map_volume(
            cases.smoothed,
            folder / "src.npy",
            folder / "dst.npy",
            grid,
            batch_size=batch,
            block=case["block"],
            workers=1,
            **options,
            **EXCHANGE,
        )
        assert np.array_equal(np.load(folder / "dst.npy"), expected[0], equal_nan=True)
        assert made.run == made.windows == grid.n
        assert not list((folder / "dst.npy.blocks").glob("*.np*"))


@pytest.mark.parametrize("options", [
    {"model": cases.halves, "halo": "scale"},
    {"model": cases.middle, "halo": "valid"},
    {"model": cases.smoothed, "halo": 2, "window": "uniform"},
    {"model": cases.signs, "reduce": "vote", "window": "uniform"},
    {"model": cases.two_channels, "reduce_slab": cases.strongest},
    {"model": cases.smoothed, "window": np.abs(cases.volume((8, 8), 3))},
])  # fmt: skip
def test_what_map_fragments_takes(tmp_path: Path, options: dict[str, Any]) -> None:
    grid = FragmentGrid((40, 44), size=8, stride=4)
    x = cases.volume(grid.shape)
    np.save(tmp_path / "src.npy", x)
    options = dict(options)
    model = options.pop("model")
    expected = map_fragments(model, x[None, None], grid, batch_size=4, **options)[0, 0]
    block = (10, 12) if expected.shape != (40, 44) else (20, 16)
    places = (tmp_path / "src.npy", tmp_path / "dst.npy")
    map_volume(model, *places, grid, block=block, workers=1, batch_size=3, **options, **EXCHANGE)
    result = np.load(tmp_path / "dst.npy")
    assert result.dtype == expected.dtype
    assert np.array_equal(result, expected)


class Halved:
    """A torch model's outputs, in a type that NumPy does not have or has."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, fragments: Any) -> Any:
        import torch

        return (fragments * 0.5).tanh().to(getattr(torch, self.name))


def largest(slab: Any) -> Any:
    return slab.amax(1, keepdim=True)  # torch's own: arrays have no such method


@pytest.mark.parametrize("borders", ["recompute", "exchange"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_tensors_of_every_type(tmp_path: Path, dtype: str, borders: Any) -> None:
    torch = pytest.importorskip("torch")
    grid = FragmentGrid((30, 28), size=8, stride=3, edge="shift")
    x = cases.volume((2, *grid.shape))
    np.save(tmp_path / "src.npy", x)
    options: dict[str, Any] = {"device": "cpu", "reduce_slab": largest, "batch_size": 3}
    expected = map_fragments(Halved(dtype), torch.from_numpy(x)[None], grid, **options)[0, 0]
    places = (tmp_path / "src.npy", tmp_path / "dst.npy")
    options.update(borders=borders, block=(12, 11), workers=1, **cases.OPTIONS)
    map_volume(Halved(dtype), *places, grid, **options)
    assert np.array_equal(np.load(tmp_path / "dst.npy")[0], expected.numpy())


def test_a_batch_of_an_image_with_its_levels(tmp_path: Path) -> None:
    x = cases.volume((2, *GRID.shape))
    src = image(tmp_path / "src", x, 3, "tzyx")
    for borders in ("recompute", "exchange"):
        options = {"borders": borders, "block": (16, 32, 16), **cases.OPTIONS}
        made = map_volume(cases.smoothed, src, tmp_path / borders, GRID, workers=1, **options)
    assert cases.files(tmp_path / "exchange") == cases.files(tmp_path / "recompute")
    assert made.measured == made.predicted == 1
    assert 0.9 < made.handed / made.handed_predicted < 1.2
    assert "MB handed on" in str(made)
    assert verify_volume(tmp_path / "exchange") == made.blocks


@pytest.mark.parametrize("after", [1, 5, 14, 20])
def test_goes_on_and_keeps_no_more_than_is_needed(tmp_path: Path, after: int) -> None:
    x = cases.volume(GRID.shape)
    src, dst = source(tmp_path / "src", x), tmp_path / "dst"
    engine = cases.Stopping(LocalEngine(1), after % 13)
    options = {"block": (16, 16, 32), **EXCHANGE}
    with pytest.raises(InterruptedError):
        map_volume(cases.smoothed, src, dst, GRID, engine=engine, **options)
    with pytest.raises(ValueError, match="borders 'exchange', not 'recompute'"):
        map_volume(cases.smoothed, src, dst, GRID, workers=1, block=(16, 16, 32), **cases.OPTIONS)
    made = map_volume(cases.smoothed, src, dst, GRID, workers=1, **options)
    assert made.run == made.windows
    assert np.array_equal(zarr.open_array(dst)[:], cases.whole(cases.smoothed, x, GRID))
    assert not list(records_folder(str(dst)).glob("*.np*"))
    again = map_volume(cases.smoothed, src, dst, GRID, workers=1, **options)
    assert again.again == again.blocks


def test_files_go_when_their_readers_are_done(tmp_path: Path) -> None:
    src, dst = source(tmp_path / "src", cases.volume(GRID.shape)), tmp_path / "dst"
    folder, counts = records_folder(str(dst)), []

    class Counting(LocalEngine):
        def run(self, work: Any, parts: Any) -> Any:
            for done in super().run(work, parts):
                yield done
                counts.append(len(list(folder.glob("*.kept.npy"))))

    made = map_volume(
        cases.smoothed, src, dst, GRID, engine=Counting(1), block=(16, 16, 16), **EXCHANGE
    )
    first, second = counts[: made.blocks], counts[made.blocks : 2 * made.blocks]
    assert first == list(range(1, made.blocks + 1))
    assert second == sorted(second, reverse=True)
    assert second[-2] < made.blocks // 2  # long before the end


def test_what_is_handed_on_is_checked(tmp_path: Path) -> None:
    x = cases.volume(GRID.shape)
    src, dst = source(tmp_path / "src", x), tmp_path / "dst"
    folder = records_folder(str(dst))

    class Damaging(LocalEngine):
        """Changes a file between the rounds."""

        def __init__(self, change: Any) -> None:
            super().__init__(1)
            self.change, self.rounds = change, 0

        def run(self, work: Any, parts: Any) -> Any:
            self.rounds += 1
            if self.rounds == 2:
                self.change(*handed_paths(folder, 0))
            return super().run(work, parts)

    def flip(path: Path, at: int) -> None:
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)

    changes = [
        lambda kept, inner: flip(kept, -5),
        lambda kept, inner: kept.write_bytes(kept.read_bytes()[:-100]),
        lambda kept, inner: inner.write_bytes(inner.read_bytes()[:-100]),
        lambda kept, inner: flip(inner, 200),
        lambda kept, inner: np.save(kept, np.zeros(3)),
        lambda kept, inner: inner.write_bytes(b""),
    ]
    options = {"block": (32, 16, 32), **EXCHANGE}
    for change in changes:
        with pytest.raises(ValueError, match=r"block 0 has left .* without its 000000\.json"):
            map_volume(cases.smoothed, src, dst, GRID, engine=Damaging(change), **options)
        (folder / "000000.json").unlink()
    map_volume(cases.smoothed, src, dst, GRID, workers=1, **options)
    assert np.array_equal(zarr.open_array(dst)[:], cases.whole(cases.smoothed, x, GRID))


def test_a_damaged_block_is_made_again_when_all_was_done(tmp_path: Path) -> None:
    src, dst = source(tmp_path / "src", cases.volume(GRID.shape)), tmp_path / "dst"
    options = {"block": (16, 16, 16), **EXCHANGE}
    made = map_volume(cases.smoothed, src, dst, GRID, workers=1, **options)
    sums = cases.files(dst)
    zarr.open_array(dst, mode="r+")[20, 20, 20] = 9
    with pytest.raises(ValueError, match="is not what was written; without dst") as told:
        verify_volume(dst)
    (tmp_path / str(told.value).split("without ")[1].split()[0]).unlink()
    again = map_volume(cases.smoothed, src, dst, GRID, workers=1, **options)
    assert again.again == made.blocks - 1
    assert cases.files(dst) == sums


def test_a_worker_killed_in_each_round(tmp_path: Path) -> None:
    grid = FragmentGrid((96, 96, 96), size=32, stride=24, edge="shift")
    x = cases.volume(grid.shape)
    src = source(tmp_path / "src", x, chunks=(32, 32, 32))
    (tmp_path / "log").mkdir()
    model = cases.KilledInABlock(str(tmp_path / "log"), times=2)
    reduce_slab = cases.KilledAtOnce(str(tmp_path / "log"), os.getpid())
    made = map_volume(
        model,
        src,
        tmp_path / "dst",
        grid,
        engine=LocalEngine(2),
        batch_size=4,
        reduce_slab=reduce_slab,
        block=(32, 32, 64),
        **EXCHANGE,
    )
    assert (tmp_path / "log" / "killed-1").exists()
    assert (tmp_path / "log" / "killed-slab").exists()
    assert made.run == made.windows
    expected = cases.whole(cases.smoothed, x, grid)
    assert np.array_equal(zarr.open_array(tmp_path / "dst", mode="r")[:], expected)


@pytest.mark.parametrize(("seconds", "chosen"), [(10.0, "exchange"), (0.0, "recompute")])
def test_the_cheaper_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, chosen: str
) -> None:
    src, dst = source(tmp_path / "src", cases.volume(GRID.shape)), tmp_path / "dst"
    monkeypatch.setattr(volume_costs, "window_seconds", lambda *arguments: seconds)
    options = {"block": (16, 16, 16), "borders": "auto", "workers": 1, **cases.OPTIONS}
    made = map_volume(cases.smoothed, src, dst, GRID, **options)
    assert made.borders == chosen
    monkeypatch.setattr(volume_costs, "window_seconds", lambda *arguments: 10.0 - seconds)
    again = map_volume(cases.smoothed, src, dst, GRID, **options)
    assert again.borders == chosen  # what was begun
    assert again.again == made.blocks


def test_the_cheaper_way_is_measured(tmp_path: Path) -> None:
    """A slow model is not run twice; no disk is asked for more than it holds."""
    src = source(tmp_path / "src", cases.volume(GRID.shape))
    options = {"block": (32, 32, 32), "borders": "auto", "workers": 1, "batch_size": 8}
    slow = cases.KilledInABlock(str(tmp_path), times=0, seconds=0.1)
    made = map_volume(slow, src, tmp_path / "slow", GRID, progress=False, **options)
    assert made.borders == "exchange"


def test_a_full_disk_is_not_asked_for_borders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src = source(tmp_path / "src", cases.volume(GRID.shape))
    monkeypatch.setattr(volume_costs, "window_seconds", lambda *arguments: 10.0)
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(volume_costs.shutil, "disk_usage", lambda folder: usage)
    options = {"block": (16, 16, 16), "borders": "auto", "workers": 1, **cases.OPTIONS}
    assert map_volume(cases.smoothed, src, tmp_path / "dst", GRID, **options).borders == "recompute"


def test_no_such_way(tmp_path: Path) -> None:
    src = source(tmp_path / "src", cases.volume(GRID.shape))
    with pytest.raises(ValueError, match="borders: got 'none', takes"):
        map_volume(
            cases.smoothed,
            src,
            tmp_path / "dst",
            GRID,
            borders="none",
            workers=1,  # type: ignore[arg-type]
        )
    assert not (tmp_path / "dst.blocks").exists()
