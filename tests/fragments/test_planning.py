"""Plans: nothing lost, memory kept to, closed forms equal to counting; the calibration's cache."""

from __future__ import annotations

import json
import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.planning import calibration as calibrating
from tokfrag.fragments.planning.plan import plan_fragments
from tokfrag.fragments.streams import device as _device_stitching, results
from tokfrag.fragments.streams.sliding import map_fragments
from tokfrag.fragments.streams.stitching import lost_positions

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKFRAG_CACHE_DIR", str(tmp_path))
    speed = calibrating.Calibration(4e9, 1e-5, 2e9, 2e-5)
    calibrating._write(calibrating._path(), speed)
    return tmp_path


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=3),
    st.data(),
)
def test_lost_positions_are_those_whose_surroundings_no_fragment_holds(shape, data):
    size = [data.draw(st.integers(1, length)) for length in shape]
    stride = [data.draw(st.integers(1, w + 2)) for w in size]
    reach = tuple(data.draw(st.integers(1, 6)) for _ in shape)
    grid = FragmentGrid(shape, size, stride, edge="shift")
    good = np.zeros(shape, bool)
    for origin in grid.origins:
        for place in product(*(range(o, o + w) for o, w in zip(origin, size, strict=True))):
            looked_at = zip(place, origin, size, reach, shape, strict=True)
            good[place] |= all(
                max(p - (r - 1) // 2, 0) >= o and min(p + r - 1 - (r - 1) // 2, n - 1) < o + w
                for p, o, w, r, n in looked_at
            )
    halo = tuple(((r - 1) // 2, r - 1 - (r - 1) // 2) for r in reach)
    assert lost_positions(grid, halo) == math.prod(shape) - good.sum()


@pytest.mark.parametrize("shape", [(5000,), (200, 300), (40, 60, 50)])
@pytest.mark.parametrize("workers", [1, 4, 6])
def test_plans_are_ranked_fit_in_memory_and_lose_nothing(shape, workers):
    plan = plan_fragments(
        shape, np.float32, receptive_field=9, memory_limit=1 << 20, workers=workers, cost=1e-8
    )
    seconds = [c.seconds for c in plan.candidates]
    assert seconds == sorted(seconds)
    for candidate in plan.candidates:
        assert candidate.lost == 0
        assert candidate.batch >= 1
        assert candidate.memory <= 1 << 20
        assert math.prod(candidate.split) <= workers
        assert candidate.redundancy >= 1
        assert candidate.imbalance >= 1
        if math.prod(candidate.split) == 1:
            assert candidate.halo_bytes == 0
    for candidate in plan.refused:
        assert candidate.lost > 0
    assert "would miss data" in plan.table()
    assert str(plan.best.grid.n) in str(plan)


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("shape", [(300,), (40, 52)])
def test_a_plan_gives_the_whole_models_results(shape, on_device, monkeypatch):
    if on_device:  # what stitches on a device, here on the CPU

        def stitcher(*options):
            return _device_stitching.DeviceStitcher(*options[:-1])

        monkeypatch.setattr(results, "_stitcher", stitcher)
    rank = len(shape)
    layer = (torch.nn.Conv1d, torch.nn.Conv2d)[rank - 1]
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        layer(1, 3, 5, padding=2), torch.nn.ReLU(), layer(3, 1, 3, padding=1)
    )
    model.double()
    x = torch.randn(1, 1, *shape, dtype=torch.float64)
    plan = plan_fragments(shape, x.dtype, receptive_field=7, memory_limit=3000 * 7 ** (rank - 1))
    for c in plan.candidates:
        got = map_fragments(model, x, c.grid, batch_size=c.batch, window="uniform", halo=c.halo)
        torch.testing.assert_close(got, model(x).detach(), rtol=1e-9, atol=1e-9)
    assert plan.best.grid.n > 1
    for c in plan.refused:
        with pytest.raises(ValueError, match=f"halo: got .* leaves {c.lost} of"):
            map_fragments(model, x, c.grid, batch_size=9, halo=c.halo)


def test_the_split_moves_least():
    long = plan_fragments(
        (4000, 100),
        "float32",
        receptive_field=5,
        memory_limit=1 << 24,
        workers=4,
        sizes=[25],
    )
    assert long.best.split == (4, 1)
    halo = 3 * 4 * 100 * 8  # cuts, positions beyond the stride, a row, bytes in and out
    assert long.best.halo_bytes == halo


def test_costs_and_links_decide():
    shape, options = (1 << 16,), {"receptive_field": 129, "memory_limit": 1 << 30}
    cheap = plan_fragments(shape, "float32", cost=1e-12, **options).best
    quadratic = plan_fragments(
        shape, "float32", cost=lambda size: 1e-10 * size[0] ** 2, **options
    ).best
    assert quadratic.grid.size < cheap.grid.size
    options.update(sizes=[1024], workers=2)
    slow = plan_fragments(shape, "float32", latency=1.0, bandwidth=1e3, **options)
    fast = plan_fragments(shape, "float32", latency=1e-9, bandwidth=1e12, **options)
    assert slow.best.seconds > 1 > fast.best.seconds


def test_measuring_keeps_the_prediction():
    plan = plan_fragments((3000,), "float32", receptive_field=3, memory_limit=1 << 16)
    x = np.zeros((1, 1, 3000), np.float32)
    measured = plan.measure(lambda fragments: fragments, x, top=2)
    assert [c.measured is not None for c in measured.candidates[:3]] == [True, True, False]
    assert measured.best.seconds == plan.best.seconds
    assert measured.best.measured > 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"memory_limit": 10}, ValueError, "memory_limit: got 10, takes at least"),
        ({"memory_limit": 0}, ValueError, "memory_limit: got 0"),
        ({"memory_limit": 1e9}, TypeError, "memory_limit: got 1000000000.0"),
        ({"receptive_field": 0}, ValueError, "receptive_field: got 0"),
        ({"receptive_field": (3, 3)}, ValueError, "receptive_field: got"),
        ({"workers": 0}, ValueError, "workers: got 0"),
        ({"bandwidth": -1.0}, ValueError, "bandwidth: got -1"),
        ({"dtype": "flaot"}, TypeError, "dtype: got 'flaot'"),
        ({"shape": (0,)}, ValueError, "shape: got"),
        ({"sizes": [2000]}, ValueError, "sizes: got"),
        ({"sizes": [100], "strides": [100]}, ValueError, "strides: every candidate loses"),
    ],
)
def test_bad_input_gets_one_clear_exception(change, error, message):
    arguments = {
        "shape": (1000,),
        "dtype": "float32",
        "receptive_field": 9,
        "memory_limit": 1 << 20,
        **change,
    }
    with pytest.raises(error, match=message):
        plan_fragments(arguments.pop("shape"), arguments.pop("dtype"), **arguments)


def test_the_calibration_is_measured_once_and_checked(cache):
    path = calibrating._path()
    path.unlink()
    first = calibrating.calibration()
    assert all(value > 0 for value in vars(first).values())
    assert calibrating.calibration() == first
    stored = json.loads(path.read_text())
    for damage in ("{", json.dumps({}), json.dumps({**stored, "figures": {"move_bandwidth": 1}})):
        path.write_text(damage)
        assert calibrating._read(path) is None
    stored["figures"]["move_bandwidth"] *= 2  # without its digest
    path.write_text(json.dumps(stored))
    assert calibrating._read(path) is None
    assert calibrating.calibration().move_bandwidth > 0
    assert calibrating._read(path) is not None


def test_a_folder_that_cannot_be_written_to_does_no_harm(monkeypatch, cache):
    (cache / "file").write_text("")
    monkeypatch.setenv("TOKFRAG_CACHE_DIR", str(cache / "file"))
    assert calibrating.calibration().call_seconds > 0
