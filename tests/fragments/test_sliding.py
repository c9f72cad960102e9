"""map_fragments against cut, run, merge done whole; the MONAI stand-in against MONAI."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag.fragments import extract, merge
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.streams import device as _device_stitching, results, stitching
from tokfrag.fragments.streams.sliding import OutOfMemoryWarning, map_fragments

torch = pytest.importorskip("torch")


def affine(fragments):
    """Depends on the place in the fragment, so that a wrong merge shows."""
    ramp = np.arange(fragments[0].reshape(-1).shape[0] if len(fragments) else 0)
    ramp = ramp.reshape(fragments.shape[1:]).astype(np.float32)
    if isinstance(fragments, torch.Tensor):
        ramp = torch.from_numpy(ramp).to(fragments.dtype)
    return 2 * fragments + ramp


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rank = draw(st.integers(1, 3))
    shape = tuple(int(v) for v in rng.integers(1, {1: 60, 2: 14, 3: 8}[rank], rank))
    size = tuple(int(rng.integers(1, length + 1)) for length in shape)
    stride = tuple(int(rng.integers(1, w + 2)) for w in size)
    grid = FragmentGrid(
        shape,
        size,
        stride,
        edge=draw(st.sampled_from(["pad", "shift"])),
        pad_mode=draw(st.sampled_from(["constant", "reflect", "replicate", "circular"])),
        pad_value=2,
    )
    x = rng.standard_normal((draw(st.integers(1, 3)), draw(st.integers(1, 2)), *shape))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    return x.astype(dtype), grid, draw(st.integers(1, 9))


@given(
    problems(),
    st.sampled_from(["uniform", "gaussian", "hann", "array"]),
    st.sampled_from(["mean", "sum", "max"]),
    st.sampled_from([1, 64, 1 << 18]),
    st.sampled_from([1, 1 << 13]),
    st.booleans(),
    st.booleans(),
)
def test_equals_extract_model_merge(problem, window, reduce, slab, large, tensors, on_device):
    x, grid, batch_size = problem
    if reduce == "max":
        window = "uniform"
    elif window == "array":
        window = np.random.default_rng(0).uniform(0.5, 2, grid.size)
    fragments = extract(x, grid)
    whole = affine(fragments.reshape(-1, *fragments.shape[2:])).reshape(fragments.shape)
    # Under "sum", merge gives padding that copies data back to where it came from.
    flat = FragmentGrid(grid.shape, grid.size, grid.stride, edge=grid.edge)
    want = merge(whole, flat, window=window, reduce=reduce)
    before = stitching._SLAB_VALUES, _device_stitching._LARGE_FRAGMENT, results._stitcher
    stitching._SLAB_VALUES, _device_stitching._LARGE_FRAGMENT = slab, large
    if on_device and tensors:  # what stitches on a device, here on the CPU
        results._stitcher = lambda *options: _device_stitching.DeviceStitcher(*options[:-1])
    try:
        given_x = torch.from_numpy(x) if tensors else x
        got = map_fragments(
            affine, given_x, grid, batch_size=batch_size, window=window, reduce=reduce
        )
    finally:
        stitching._SLAB_VALUES, _device_stitching._LARGE_FRAGMENT, results._stitcher = before
    assert isinstance(got, torch.Tensor) == tensors
    got = np.asarray(got)
    assert got.dtype == want.dtype
    tolerance = 1e-4 if x.dtype == np.float32 else 1e-10
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


class Pyramid(torch.nn.Module):
    """Three outputs: full size, half size with more channels, double size."""

    def forward(self, fragments):
        half = torch.nn.functional.avg_pool2d(fragments, 2)
        double = fragments.repeat_interleave(2, -1).repeat_interleave(2, -2)
        return {"same": fragments, "half": torch.cat([half, -half], 1), "double": double}


def test_several_outputs_of_other_scales_and_channels():
    x = torch.randn(2, 1, 24, 36)
    grid = FragmentGrid((24, 36), (8, 12), (4, 6))
    got = map_fragments(Pyramid(), x, grid, batch_size=5)
    pooled = torch.nn.functional.avg_pool2d(x, 2)
    torch.testing.assert_close(got["same"], x)
    torch.testing.assert_close(got["half"], torch.cat([pooled, -pooled], 1))
    torch.testing.assert_close(got["double"], x.repeat_interleave(2, -1).repeat_interleave(2, -2))
    as_list = map_fragments(lambda f: [f, f + 1], x.numpy(), grid, batch_size=5)
    assert isinstance(as_list, list)
    np.testing.assert_allclose(as_list[1], x.numpy() + 1, rtol=1e-5)


def test_slabs_are_reduced_before_they_are_kept():
    x = np.random.default_rng(0).standard_normal((2, 3, 40, 20)).astype(np.float32)
    grid = FragmentGrid((40, 20), 8, 4)
    seen = []

    def labels(slab):
        seen.append(slab.shape)
        return slab.argmax(axis=1, keepdims=True)

    before = stitching._SLAB_VALUES
    stitching._SLAB_VALUES = 1
    try:
        got = map_fragments(lambda f: f, x, grid, batch_size=7, reduce_slab=labels)
    finally:
        stitching._SLAB_VALUES = before
    whole = map_fragments(lambda f: f, x, grid, batch_size=7)
    np.testing.assert_array_equal(got[:, 0], whole.argmax(1))
    assert got.dtype == np.int64
    assert max(shape[2] for shape in seen) <= 8


def test_memory_maps_and_array_likes_are_read_and_written_piecewise(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 2, 64, 30)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    source = np.load(tmp_path / "x.npy", mmap_mode="r")
    target = np.lib.format.open_memmap(
        tmp_path / "y.npy", mode="w+", dtype=np.float32, shape=x.shape
    )
    grid = FragmentGrid((64, 30), (8, 10), (4, 5), pad_mode="reflect")

    class Chunked:
        """What zarr and HDF5 offer, and no more; refuses to be read whole."""

        def __init__(self, array):
            self.array, self.shape, self.dtype = array, array.shape, array.dtype

        def __getitem__(self, index):
            part = self.array[index]
            assert part.size <= x.size // 2
            return part

        def __setitem__(self, index, value):
            self.array[index] = value

    result = map_fragments(lambda f: f, Chunked(source), grid, batch_size=4, out=Chunked(target))
    assert result.array is target
    np.testing.assert_allclose(target, x, rtol=1e-5, atol=1e-6)


def test_out_of_memory_halves_the_batch_and_says_so():
    x = np.arange(100.0).reshape(1, 1, 100)
    grid = FragmentGrid((100,), 10, 5)
    sizes = []

    def greedy(fragments):
        sizes.append(len(fragments))
        if len(fragments) > 3:
            raise MemoryError
        return fragments

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        got = map_fragments(greedy, x, grid, batch_size=8)
    np.testing.assert_allclose(got, x, rtol=1e-12)
    assert sizes[:3] == [8, 4, 2]
    assert [w.category for w in seen] == [OutOfMemoryWarning] * 2
    assert "a batch of 8 fragments" in str(seen[0].message)
    assert "batches of 4" in str(seen[0].message)


def test_a_single_fragment_that_does_not_fit_is_an_error():
    def full(fragments):
        raise MemoryError

    with pytest.raises(MemoryError):
        map_fragments(full, np.zeros((1, 1, 10)), FragmentGrid((10,), 10), batch_size=2)


def test_half_precision_is_merged_in_float():
    x = torch.full((1, 1, 96, 96), 0.1, dtype=torch.bfloat16)
    got = map_fragments(lambda f: f, x, FragmentGrid((96, 96), 32, 4), batch_size=16)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, x)


def test_models_see_no_gradients_and_keep_their_mode():
    model = torch.nn.Conv1d(1, 2, 3, padding=1)
    x = torch.randn(1, 1, 50, requires_grad=True)
    got = map_fragments(model, x, FragmentGrid((50,), 10, 5), batch_size=3, progress=False)
    assert got.shape == (1, 2, 50)
    assert not got.requires_grad
    assert model.training
    from_numpy = map_fragments(model, x.detach().numpy(), FragmentGrid((50,), 10, 5), batch_size=3)
    np.testing.assert_array_equal(from_numpy, got.numpy())


def test_gaps_and_empty_inputs():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        grid = FragmentGrid((11,), 2, 4, edge="drop")
    got = map_fragments(lambda f: f, np.ones((1, 1, 11)), grid, batch_size=2)
    np.testing.assert_array_equal(got[0, 0], [1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0])
    assert map_fragments(lambda f: f, np.ones((0, 1, 11)), grid, batch_size=2) is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": np.zeros((1, 1, 11))}, ValueError, "x: got shape"),
        ({"x": 3}, TypeError, "x: got int"),
        ({"grid": 3}, TypeError, "grid: got int"),
        ({"batch_size": 0}, ValueError, "batch_size: got 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size: got 2.5"),
        ({"reduce": "mode"}, ValueError, "reduce: got 'mode'"),
        ({"window": "square"}, ValueError, "window: got 'square'"),
        ({"window": "hann", "reduce": "max"}, ValueError, "window: reduce='max'"),
        ({"model": lambda f: f[:, :, :3]}, ValueError, "model: got outputs of size"),
        ({"model": lambda f: f.sum()}, ValueError, "model: got an output of shape"),
        ({"model": lambda f: f[:1]}, ValueError, "model: got an output of shape"),
        ({"model": lambda f: None}, ValueError, "model: got an output of shape"),
        ({"batch_size": True}, TypeError, "batch_size: got True"),
        ({"x": memoryview(np.zeros((1, 1, 10)))}, TypeError, "x: got memoryview"),
        ({"x": np.ma.zeros((1, 1, 10))}, TypeError, "x: got a masked array, whose mask"),
        ({"x": torch.zeros(1, 1, 10).to_sparse()}, TypeError, "x: got a torch.sparse_coo tensor"),
        *(
            (
                {
                    "x": np.zeros((1, 1, 10), np.int32),
                    "grid": FragmentGrid((10,), 5, 3, pad_value=value),
                },
                ValueError,
                "pad_value: got .* which int32 cannot hold",
            )
            for value in (np.nan, 300.5, 1e30, 1j)
        ),
        ({"halo": 1}, ValueError, "halo: got FragmentGrid"),
        ({"halo": -1}, ValueError, "halo: got -1"),
        ({"halo": "1"}, TypeError, "halo: got '1'"),
        ({"out": np.zeros((1, 1, 9))}, ValueError, "out: got shape"),
        ({"out": (np.zeros((1, 1, 10)),)}, ValueError, "out: got a sequence of 1"),
        ({"reduce_slab": lambda s: s[:, 0]}, ValueError, "reduce_slab: got shape"),
    ],
)
def test_bad_input_gets_one_clear_exception(change, error, message):
    arguments = {
        "model": lambda f: f,
        "x": np.zeros((1, 1, 10)),
        "grid": FragmentGrid((10,), 5, 3),
        "batch_size": 2,
        **change,
    }
    with pytest.raises(error, match=message):
        map_fragments(
            arguments.pop("model"), arguments.pop("x"), arguments.pop("grid"), **arguments
        )


MONAI_CASES = [
    {},
    {"mode": "gaussian"},
    {"mode": "gaussian", "overlap": 0.6, "sigma_scale": (0.1, 0.3)},
    {"overlap": (0.5, 0.0)},
    {"inputs": (2, 2, 7, 40), "padding_mode": "reflect", "mode": "gaussian"},
    {"inputs": (1, 2, 5, 6), "cval": 3.0},
    {"roi_size": (16, -1)},
    {"roi_weight_map": "map"},
    {"mode": "gaussian", "buffer_steps": 2, "buffer_dim": 0},
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", MONAI_CASES)
def test_stands_in_for_monai(case):
    inferers = pytest.importorskip("monai.inferers", exc_type=ImportError)
    from tokfrag.compat.monai import sliding_window_inference

    arguments = {"roi_size": (12, 10), "sw_batch_size": 3, **case}
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(arguments.pop("inputs", (2, 2, 37, 45)), generator=generator)
    if "roi_weight_map" in arguments:
        arguments["roi_weight_map"] = torch.rand(12, 10, generator=generator) + 0.1

    def predictor(windows):
        return affine(windows)

    got = sliding_window_inference(x, predictor=predictor, **arguments)
    want = inferers.sliding_window_inference(x, predictor=predictor, **arguments)
    torch.testing.assert_close(got, want, rtol=2e-5, atol=2e-4)


@pytest.mark.filterwarnings("ignore")
def test_stands_in_for_monai_with_coordinates_conditions_and_several_outputs():
    inferers = pytest.importorskip("monai.inferers", exc_type=ImportError)
    from tokfrag.compat.monai import sliding_window_inference

    x = torch.randn(2, 1, 20, 24, 16, generator=torch.Generator().manual_seed(0))

    def predictor(windows, coordinates, factor, *, condition):
        first = torch.tensor([float(place[2].start + place[3].start) for place in coordinates])
        half = torch.nn.functional.avg_pool3d(windows, 2)
        return {"a": windows * factor + condition + first.view(-1, 1, 1, 1, 1), "b": half}

    arguments = (x, (8, 8, 8), 4, predictor, 0.5, "gaussian")
    options = {"with_coord": True, "factor": 3, "condition": x + 1}
    got = sliding_window_inference(*arguments, **options)
    want = inferers.sliding_window_inference(*arguments, **options)
    assert list(got) == list(want)
    for key in want:
        torch.testing.assert_close(got[key], want[key], rtol=2e-5, atol=2e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["constant", "gaussian"])
@pytest.mark.parametrize("changing", [False, True])
def test_stands_in_for_monai_with_process_fn(mode, changing):
    inferers = pytest.importorskip("monai.inferers", exc_type=ImportError)
    from tokfrag.compat.monai import sliding_window_inference

    x = torch.randn(2, 2, 20, 24, generator=torch.Generator().manual_seed(0))
    results = []
    for stand_in in (sliding_window_inference, inferers.sliding_window_inference):
        calls = []

        def process(outputs, windows, weights, calls=calls):
            assert windows.shape[1:] == (2, 8, 8)
            assert weights.shape == (8, 8)
            calls.append(len(windows))
            ramp = torch.linspace(0.5, 1, 8) * (len(calls) if changing else 1)
            return tuple(2 * output for output in outputs), weights * ramp

        def predictor(windows):
            return affine(windows), torch.nn.functional.avg_pool2d(windows, 2)

        results.append(stand_in(x, (8, 8), 3, predictor, 0.5, mode, process_fn=process))
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=2e-5, atol=2e-4)


def test_monai_stand_in_refuses_what_it_cannot_do():
    from tokfrag.compat.monai import sliding_window_inference

    x = torch.zeros(1, 1, 8, 8)
    with pytest.raises(ValueError, match="process_fn: got weights of shape"):
        sliding_window_inference(x, 4, 1, lambda f: f, process_fn=lambda o, w, m: (o, m[1:]))
    with pytest.raises(ValueError, match=r"overlap: got 1\.0"):
        sliding_window_inference(x, 4, 1, lambda f: f, overlap=1.0)
    with pytest.raises(ValueError, match="roi_size: got"):
        sliding_window_inference(x, (4,), 1, lambda f: f)
    with pytest.raises(ValueError, match="mode: got 'hann'"):
        sliding_window_inference(x, 4, 1, lambda f: f, mode="hann")
