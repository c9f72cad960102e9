"""fragment_features against its twin, over shapes, edges, dtypes, strides and offsets."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import _core
from tokfrag.fragments.extraction import extract
from tokfrag.fragments.features import FEATURES, fragment_features
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.reference import features as reference

torch = pytest.importorskip("torch")

NUMPY_MODE = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]


def twin(x, grid, names, lags, axis):
    """The reference on a padded copy."""
    width = [(0, 0), (0, 0)]
    width += [(0, p - s) for p, s in zip(grid.padded_shape, grid.shape, strict=True)]
    options = {"constant_values": grid.pad_value} if grid.pad_mode == "constant" else {}
    padded = np.pad(x.astype(np.float64), width, mode=NUMPY_MODE[grid.pad_mode], **options)
    return reference.fragment_features(
        padded, grid.starts, grid.size, names, lags=lags, axis=axis, dilation=grid.dilation
    )


@st.composite
def problems(draw):
    """x, grid, names, lags, axis: series long enough for several chunks; up to 4 axes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rank = draw(st.integers(1, 4))
    most = {1: draw(st.sampled_from([6, 60, 9000])), 2: 14, 3: 7, 4: 5}[rank]
    shape = tuple(int(v) for v in rng.integers(1, most + 1, rank))
    dilation = (
        tuple(int(v) for v in rng.integers(1, 3, rank)) if draw(st.booleans()) else (1,) * rank
    )
    size = tuple(
        int(rng.integers(1, min(300, (length - 1) // step + 1) + 1))
        for length, step in zip(shape, dilation, strict=True)
    )
    stride = tuple(
        int(rng.integers(max(1, length // 60), w + length // 20 + 3))
        for w, length in zip(size, shape, strict=True)
    )
    grid = FragmentGrid(
        shape,
        size,
        stride,
        edge=draw(st.sampled_from(["pad", "shift"])),
        pad_mode=draw(st.sampled_from(sorted(NUMPY_MODE))),
        pad_value=3,
        dilation=dilation,
    )
    dtype = draw(st.sampled_from(DTYPES))
    channels = draw(st.integers(1, 3))
    x = rng.standard_normal((draw(st.integers(1, 2)), channels, *shape))
    if "float" not in dtype or draw(st.booleans()):
        x = np.round(x * 2)  # constant fragments, equal extremes
    x = (x + draw(st.sampled_from([0, 0, 100]))).astype(dtype)
    axis = draw(st.integers(0, rank - 1))
    lags = tuple(
        int(v) for v in rng.permutation(np.arange(1, size[axis]))[: draw(st.integers(0, 9))]
    )
    names = draw(st.permutations(FEATURES if lags else FEATURES[:-1]))
    return x, grid, names[: draw(st.integers(1, len(names)))], lags, axis


@st.composite
def even_problems(draw):
    """Series under strides that divide the windows, which a kernel of its own sums."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    stride = draw(st.integers(16, 40))
    size = stride * draw(st.integers(1, 5))
    length = size + int(rng.integers(0, 40 * stride))
    edge = draw(st.sampled_from(["pad", "shift"]))
    grid = FragmentGrid((length,), size, stride, edge=edge, pad_value=2)
    x = rng.standard_normal((2, draw(st.integers(1, 18)), length)) * 20
    x = (x + draw(st.sampled_from([0, 0, 100]))).astype(draw(st.sampled_from(DTYPES)))
    longest = draw(st.sampled_from([stride, min(stride + 9, size - 1)]))
    lags = rng.permutation(np.arange(1, min(longest, size - 1) + 1))[: draw(st.integers(0, 20))]
    names = draw(st.permutations(FEATURES if len(lags) else FEATURES[:-1]))
    return x, grid, names[: draw(st.integers(1, len(names)))], tuple(map(int, lags)), 0


@given(st.one_of(problems(), even_problems()))
def test_equals_the_twin(problem):
    x, grid, names, lags, axis = problem
    got = fragment_features(x, grid, names, lags=lags, axis=axis)
    want = twin(x, grid, names, lags if "lag_corr" in names else (), axis)
    assert got.dtype == (x.dtype if x.dtype.kind == "f" else np.float32)
    assert got.shape == want.shape
    tolerance = {"float64": 1e-9, "float16": 2e-3}.get(x.dtype.name, 1e-6)
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@given(st.one_of(problems(), even_problems()), st.integers(2, 5))
def test_strides_threads_and_kind_of_array_change_no_bit(problem, threads):
    x, grid, names, lags, axis = problem
    want = fragment_features(x, grid, names, lags=lags, axis=axis, threads=1).tobytes()
    swapped = np.ascontiguousarray(x.swapaxes(1, -1)[::-1]).swapaxes(1, -1)[::-1]
    for given_x in (swapped, np.repeat(x, 2, axis=-1)[..., ::2]):
        got = fragment_features(given_x, grid, names, lags=lags, axis=axis, threads=threads)
        assert got.tobytes() == want
    tensor = fragment_features(torch.from_numpy(x.copy()), grid, names, lags=lags, axis=axis)
    assert tensor.numpy().tobytes() == want


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("edge", ["pad", "shift"])
def test_a_block_has_its_bits_whatever_blocks_are_summed_beside_it(dtype, edge):
    # Rows that are read where they lie are put side by side in other groups than copies.
    rng = np.random.default_rng(7)
    for length, size, stride in ((900, 130, 50), (458, 80, 20), (2000, 256, 96), (700, 100, 100)):
        x = (rng.standard_normal((2, 3, length)) * 40).astype(dtype)
        grid = FragmentGrid((length,), size, stride, edge=edge)
        apart = np.repeat(x, 2, axis=-1)[..., ::2]
        options = {"lags": (1, 2, 3, 5)}
        want = fragment_features(x, grid, **options)
        assert fragment_features(apart, grid, **options).tobytes() == want.tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_rows_have_their_bits_whatever_rows_are_summed_beside_them(dtype):
    rng = np.random.default_rng(8)
    for shape, size, stride in (
        ((70, 96), (16, 32), (8, 16)),  # blocks that adjoin from row to row
        ((70, 130), (16, 50), (8, 30)),
        ((9, 30, 64), (4, 8, 16), (2, 11, 16)),  # a gap between windows
        ((9, 30, 64), (4, 8, 64), (5, 8, 64)),
    ):
        x = (rng.standard_normal((2, 3, *shape)) * 40).astype(dtype)
        grid = FragmentGrid(shape, size, stride, edge="pad", pad_mode="reflect")
        names = ("mean", "std", "min", "max")
        want = fragment_features(x, grid, names)
        apart = np.repeat(np.repeat(x, 2, axis=-1), 3, axis=-2)[..., ::3, ::2]
        wide = np.concatenate([x, x], axis=-1)[..., : shape[-1]]
        upside_down = np.ascontiguousarray(x[..., ::-1, :])[..., ::-1, :]
        for other in (apart, wide, upside_down):
            assert fragment_features(other, grid, names, threads=2).tobytes() == want.tobytes()


@pytest.mark.parametrize("shape", [(40, 70), (3, 20, 90)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float32", "float64"])
def test_rows_of_images_and_volumes_keep_their_digits_far_from_zero(shape, dtype):
    rng = np.random.default_rng(3)
    x = (rng.standard_normal((2, 2, *shape)) * 10 + 100).astype(dtype)
    x[1] = (x[1].astype(np.float64) * 0 + 100 + rng.integers(0, 2, x[1].shape)).astype(dtype)
    size, stride = tuple(min(32, n) for n in shape), (1,) * (len(shape) - 1) + (16,)
    grid = FragmentGrid(shape, size, stride)
    names = ("mean", "std", "min", "max", "diff_energy")
    got = fragment_features(x, grid, names, axis=len(shape) - 1)
    want = twin(x, grid, names, (), len(shape) - 1)
    tolerance = {"float16": 2e-3, "float64": 1e-13}.get(dtype, 2e-7)
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * 150)


CODE = """
import hashlib, numpy as np
from tokfrag.fragments.features import fragment_features
from tokfrag.fragments.grid import FragmentGrid
rng = np.random.default_rng(1)
digest = hashlib.sha256()
for dtype in ("uint8", "float16", "float32", "float64"):
    cases = (((9000,), 256, 64), ((500,), 17, 5), ((900,), 130, 50), ((40, 30), (16, 8), (8, 3)))
    for shape, size, stride in cases:
        for offset in (0, 100):
            x = (rng.standard_normal((2, 3, *shape)) * 40 + offset).astype(dtype)
            for axis in range(len(shape)):
                grid = FragmentGrid(shape, size, stride)
                y = fragment_features(x, grid, lags=range(1, 7), axis=axis)
                digest.update(y.tobytes())
            if len(shape) == 1:
                digest.update(fragment_features(x, grid, ("median", "quantile__q_0.9")).tobytes())
print(digest.hexdigest())
"""


def test_every_instruction_set_gives_the_same_bits():
    digests = {
        subprocess.run(
            [sys.executable, "-c", CODE],
            env={**os.environ, "TOKFRAG_ISA": isa},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for isa in _core.supported_isas()
    }
    assert len(digests) == 1


@pytest.mark.parametrize("offset", [0.0, 1e4, -3e6])
@pytest.mark.parametrize(("size", "stride"), [(256, 64), (100, 33), (64, 1)])
def test_offsets_and_drifts_cost_no_accuracy(offset, size, stride):
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.standard_normal((1, 2, 5000)), axis=-1) + offset
    x = walk.astype(np.float32)
    grid = FragmentGrid((5000,), size, stride, edge="shift")
    lags = (1, 2, 8)
    got = fragment_features(x.astype(np.float64), grid, lags=lags)
    np.testing.assert_allclose(got, twin(x, grid, FEATURES, lags, 0), rtol=1e-8, atol=1e-9)
    _near(fragment_features(x, grid, lags=lags), got)


def _near(single, double):
    """Within 2e-7: of the greatest magnitude in a window; of the energy itself; of 1, for lags."""
    error = np.abs(single.astype(np.float64) - double)
    greatest = np.abs(double[..., 2:4]).max(-1, keepdims=True)
    assert (error[..., :4] <= 2e-7 * greatest).all()
    assert (error[..., 4] <= 2e-7 * double[..., 4]).all()
    assert (error[..., 5:] <= 2e-7).all()


@pytest.mark.parametrize("kind", ["outliers", "ramp", "sine", "constant", "huge", "tiny"])
@pytest.mark.parametrize("offset", [0.0, 100.0, 1e8])
@pytest.mark.parametrize(("size", "stride"), [(256, 64), (255, 51), (2000, 100), (600, 600)])
def test_float32_lanes_are_within_2e_7(kind, offset, size, stride):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((1, 2, 8000))
    x = {
        "outliers": np.where(rng.random(noise.shape) < 0.003, 1e6, noise),
        "ramp": np.arange(8000) * 0.37 + 0 * noise,
        "sine": np.sin(np.arange(8000) / 30) + 0 * noise,
        "constant": 0.1 + 0 * noise,
        "huge": noise * 1e30,
        "tiny": noise * 1e-18,
    }[kind]
    x = (x + offset).astype(np.float32)
    grid = FragmentGrid((8000,), size, stride, edge="shift")
    double = fragment_features(x.astype(np.float64), grid, lags=(1, 2, 8))
    with np.errstate(over="ignore"):
        fits = np.isfinite(double.astype(np.float32)).all(-1, keepdims=True)
    got = fragment_features(x, grid, lags=(1, 2, 8))
    _near(np.where(fits, got, 0), np.where(fits, double, 0))
    if kind == "constant":
        assert (got[..., 1] == 0).all()
        assert (got[..., 5:] == 0).all()
    if kind == "huge":  # squares no float holds: those of the deviation still come from doubles
        assert np.isfinite(got[..., :4]).all()
        assert np.isinf(got[..., 4]).all()
        np.testing.assert_allclose(got[..., 1], double[..., 1], rtol=1e-6)
        np.testing.assert_allclose(got[..., 5:], double[..., 5:], atol=2e-7)


@pytest.mark.parametrize(("size", "stride"), [(256, 64), (256, 100), (40, 1000)])
def test_long_series_are_cut_into_chunks_and_their_ends_copied(size, stride):
    x = np.random.default_rng(0).standard_normal((1, 2, 140_003)).astype(np.float32)
    grid = FragmentGrid((140_003,), size, stride, pad_value=2)
    got = fragment_features(x, grid, lags=(3,), threads=2)
    np.testing.assert_allclose(got, twin(x, grid, FEATURES, (3,), 0), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize(("shape", "stride"), [((5000,), 8), ((5000,), 16), ((60, 80), 8)])
def test_a_wild_value_spoils_only_its_own_fragments(bad, shape, stride):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 1, *shape))
    grid = FragmentGrid(shape, 32, stride, edge="shift")
    clean = fragment_features(x, grid, lags=(1, 3))
    x[0, 0, 40] = bad
    with np.errstate(all="ignore"):
        got = fragment_features(x, grid, lags=(1, 3))
    hit = (grid.origins[:, 0] <= 40) & (grid.origins[:, 0] + 32 > 40)
    np.testing.assert_allclose(got[0, ~hit], clean[0, ~hit], rtol=1e-9)
    if np.isnan(bad):
        assert np.isnan(got[0, hit]).all()
    elif np.isinf(bad):
        extreme = FEATURES.index("max" if bad > 0 else "min")
        assert (got[0, hit, 0, extreme] == bad).all()
        assert (got[0, hit, 0, 0] == bad).all()


def test_constant_fragments_have_neither_spread_nor_correlation():
    x = np.full((1, 1, 1000), 0.1)
    x[..., 500:] = 1e5 / 3
    grid = FragmentGrid((1000,), 50, 25)
    got = fragment_features(x, grid, ("std", "diff_energy", "lag_corr"), lags=(1, 49))
    steps = (grid.origins[:, 0] < 500) & (grid.origins[:, 0] + 50 > 500)
    assert (got[0, ~steps] == 0).all()
    assert (got[0, steps] != 0).all()


class _Speaks:
    """An object of another library: DLPack, or ``__array__`` alone."""

    def __init__(self, x, *names):
        for name in names:
            setattr(type(self), name, getattr(x, name))


def test_dlpack_and_array_protocols():
    x = np.random.default_rng(0).standard_normal((1, 2, 40)).astype(np.float32)
    grid = FragmentGrid((40,), 8, 4)
    for names in (("__dlpack__", "__dlpack_device__"), ("__array__",)):
        other = type("Other", (_Speaks,), {})(x, *names)
        assert (fragment_features(other, grid) == fragment_features(x, grid)).all()
        assert (extract(other, grid) == extract(x, grid)).all()
    with pytest.raises(TypeError, match="x: got list"):
        extract([1, 2], grid)


def test_empty_arrays_have_empty_features():
    assert fragment_features(np.zeros((0, 2, 8)), FragmentGrid((8,), 4)).shape == (0, 2, 2, 6)
    assert fragment_features(np.zeros((2, 0, 8)), FragmentGrid((8,), 4)).shape == (2, 2, 0, 6)
    assert fragment_features(np.zeros((2, 3, 0)), FragmentGrid((0,), 4)).shape == (2, 0, 3, 6)
    assert fragment_features(np.zeros((2, 3, 8)), FragmentGrid((8,), 4), ()).shape == (2, 2, 3, 0)


@pytest.mark.parametrize("axis", [0, 1])
def test_gradients_flow_through_the_torch_formula(axis):
    x = torch.randn(2, 2, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    grid = FragmentGrid((9, 7), (4, 3), (2, 2), pad_mode="reflect")
    lags = (1, 2)
    plain = fragment_features(x, grid, lags=lags, axis=axis)
    tracked = fragment_features(x.requires_grad_(), grid, lags=lags, axis=axis)
    torch.testing.assert_close(tracked, plain)
    assert torch.autograd.gradcheck(
        lambda x: fragment_features(x, grid, ("mean", "std", "diff_energy", "lag_corr"), axis=axis),
        (x,),
    )
    with torch.no_grad():
        assert not fragment_features(x, grid).requires_grad
    constant = torch.ones(1, 1, 9, 7, requires_grad=True)
    fragment_features(constant, grid).sum().backward()
    assert torch.isfinite(constant.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.uint8])
def test_other_dtypes_of_torch(dtype):
    x = (torch.rand(1, 2, 40, generator=torch.Generator().manual_seed(0)) * 100).to(dtype)
    grid = FragmentGrid((40,), 10, 4, pad_value=2)
    got = fragment_features(x, grid)
    want = twin(x.double().numpy(), grid, FEATURES, (1,), 0)
    assert got.dtype == (dtype if dtype.is_floating_point else torch.float32)
    np.testing.assert_allclose(got.double().numpy(), want, rtol=1e-2, atol=1e-2)


def test_the_operator_passes_opcheck_and_compiles():
    x = torch.randn(2, 3, 30)
    fragment_features(x, FragmentGrid((30,), 8, 4))
    arguments = (x, [8], [4], [1], "pad", "constant", 0.0, [0, 1, 5, 5], [1, 3], 0, 0)
    torch.library.opcheck(torch.ops.tokfrag.fragment_features.default, arguments)

    @torch.compile(fullgraph=True)
    def compiled(x):
        return fragment_features(x, grid, ("mean", "lag_corr"), lags=(2,)) * 2

    grid = FragmentGrid((30,), 8, 4)
    torch.testing.assert_close(
        compiled(x), fragment_features(x, grid, ("mean", "lag_corr"), lags=(2,)) * 2
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": np.zeros((1, 1, 11))}, ValueError, "x: got shape \\(1, 1, 11\\)"),
        ({"x": np.zeros((1, 1, 10), complex)}, TypeError, "x: got complex128"),
        ({"x": torch.zeros(1, 1, 10, dtype=torch.complex64)}, TypeError, "x: got complex64"),
        ({"grid": 3}, TypeError, "grid: got int"),
        ({"features": ("mean", "mode")}, ValueError, "features: got 'mode'"),
        ({"features": ("mean", "mean")}, ValueError, "features: got \\('mean', 'mean'\\)"),
        ({"lags": (0,)}, ValueError, "lags: got \\(0,\\), takes 1 to 3"),
        ({"lags": (4,)}, ValueError, "lags: got \\(4,\\), takes 1 to 3"),
        ({"lags": ()}, ValueError, "lags: got none"),
        ({"lags": (1.5,)}, TypeError, "lags, axis: got"),
        ({"axis": 1}, ValueError, "axis: got 1"),
        ({"threads": 0}, ValueError, "threads: got 0"),
        ({"grid": FragmentGrid((10,), 4, pad_value=1j)}, TypeError, "grid: got pad_value 1j"),
    ],
)
def test_bad_input_gets_one_clear_exception(change, error, message):
    arguments = {"x": np.zeros((1, 1, 10)), "grid": FragmentGrid((10,), 4), **change}
    with pytest.raises(error, match=message):
        fragment_features(arguments.pop("x"), arguments.pop("grid"), **arguments)


@pytest.mark.parametrize(
    ("dtype", "base", "noise"), [("float64", 1e10, 1e-5), ("float32", 1e8, 1e-3)]
)
@pytest.mark.parametrize("stride", [32, 31])
def test_columns_do_not_depend_on_those_beside_them(dtype, base, noise, stride):
    rng = np.random.default_rng(0)
    x = np.full((1, 1, 20000), base)
    x[..., 128:256] = noise * rng.standard_normal(128)
    x = x.astype(dtype)
    grid = FragmentGrid((20000,), 32, stride, edge="shift")
    got = fragment_features(x, grid, ("mean", "diff_energy"))
    want = twin(x, grid, ("mean", "diff_energy"), (), 0)
    np.testing.assert_allclose(got, want, rtol=1e-6 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("dilation", [1, 2])
def test_infinite_windows_are_the_same_by_every_way(dilation):
    x = np.ones((1, 1, 40))
    x[..., 0] = np.inf
    x[..., 20:] = np.inf
    grid = FragmentGrid((40,), 5, 5, dilation=dilation)
    names = ("mean", "std", "lag_corr")
    with np.errstate(all="ignore"):
        want = twin(x, grid, names, (1,), 0)
    np.testing.assert_array_equal(fragment_features(x, grid, names), want)
    tracked = fragment_features(torch.from_numpy(x).requires_grad_(), grid, names)
    np.testing.assert_array_equal(tracked.detach().numpy(), want)


@pytest.mark.parametrize("scale", [1e-158, 1e150])
@pytest.mark.parametrize("stride", [16, 15])
def test_energies_at_the_ends_of_a_double(scale, stride):
    x = np.random.default_rng(0).standard_normal((1, 1, 200)) * scale
    grid = FragmentGrid((200,), 64, stride, edge="shift")
    got = fragment_features(x, grid, ("std", "lag_corr"), lags=(1, 2))
    np.testing.assert_allclose(got, twin(x, grid, ("std", "lag_corr"), (1, 2), 0), rtol=1e-6)


def test_the_operator_refuses_lags_beyond_the_window():
    x = torch.ones(1, 1, 20)
    fragment_features(x, FragmentGrid((20,), 4))  # defines the operator
    arguments = [4], [4], [1], "pad", "constant", 0.0
    for lags in ([4], [0], [1, 2]):
        with pytest.raises(ValueError, match=r"lags|columns"):
            torch.ops.tokfrag.fragment_features(x, *arguments, [5], lags, 0, 1)
