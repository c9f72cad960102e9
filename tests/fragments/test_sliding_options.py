"""map_fragments of chosen windows, with origins, by votes and medians, into maps of windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import FragmentGrid, extract, map_fragments, merge


@pytest.mark.parametrize(
    ("shape", "size", "made", "stride", "ambiguous"),
    [
        ((16,), (8,), (4,), (4,), True),
        ((16, 16), (8, 8), (4, 4), (4, 4), True),
        ((5, 16), (5, 8), (5, 4), (5, 4), True),  # a kernel that runs along one axis
        ((32, 16), (16, 8), (8, 4), (8, 4), False),  # another loss on each axis
        ((16,), (8,), (4,), (8,), False),  # middles would leave gaps
        ((18,), (6,), (3,), (6,), False),  # no middle
        ((16,), (8,), (16,), (4,), False),
    ],
)
def test_outputs_of_two_readings_are_refused(
    shape: Any, size: Any, made: Any, stride: Any, ambiguous: bool
) -> None:
    x = np.random.default_rng(0).standard_normal((1, 1, *shape))
    grid = FragmentGrid(shape, size, stride, edge="shift")

    def model(fragments: Any) -> Any:
        return np.ones((len(fragments), 1, *made))

    def run(model: Any = model, **options: Any) -> Any:
        return map_fragments(model, x, grid, batch_size=2, window="uniform", **options)

    scaled = tuple(n * m // s for n, m, s in zip(shape, made, size, strict=True))
    assert run(halo="scale").shape == (1, 1, *scaled)
    assert run(lambda f: (f, model(f)))[1].shape == (1, 1, *scaled)  # it pads
    if ambiguous:
        with pytest.raises(ValueError, match=r"two readings.*halo='valid'.*halo='scale'"):
            run()
        assert run(halo="valid").shape == x.shape
    else:
        assert run().shape == (1, 1, *scaled)
    with pytest.raises(TypeError, match="takes 'valid', 'scale'"):
        run(halo="size")


def test_torch_compile_leaves_a_call_alone() -> None:
    torch = pytest.importorskip("torch")
    x, grid = torch.randn(1, 1, 16, 16), FragmentGrid((16, 16), 8, 4)
    traced: list[bool] = []

    def model(fragments: Any) -> Any:
        traced.append(torch.compiler.is_compiling())
        return fragments.tanh()

    def around(x: Any) -> Any:
        return map_fragments(model, 2 * x, grid, batch_size=4) + 1

    want = around(x)
    torch.testing.assert_close(torch.compile(around, backend="eager")(x), want)
    assert traced
    assert not any(traced)
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(around, backend="eager", fullgraph=True)(x)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(map_fragments(compiled, 2 * x, grid, batch_size=4) + 1, want)


@st.composite
def grids(draw: st.DrawFn) -> FragmentGrid:
    rank = draw(st.integers(1, 3))
    shape = draw(st.tuples(*[st.integers(4, (40, 14, 7)[rank - 1])] * rank))
    small = st.tuples(*[st.integers(1, 4)] * rank)
    return FragmentGrid(
        shape, draw(small), draw(small), edge=draw(st.sampled_from(["pad", "shift"]))
    )


@given(
    grids(),
    st.sampled_from(["mean", "sum", "max", "min", "vote", "median"]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 9),
    st.integers(0, 2**16),
)
def test_equals_merge_of_the_chosen(
    grid: FragmentGrid, reduce: Any, some: bool, tensors: bool, batch_size: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x: Any = rng.integers(0, 5, (2, 2, *grid.shape)).astype(np.float32)
    chosen = np.sort(rng.permutation(grid.n)[: 1 + int(rng.integers(grid.n))])
    chosen = chosen if some else np.arange(grid.n)
    if tensors:
        x = pytest.importorskip("torch").from_numpy(x)
    memory: list[Any] = []

    def model(f: Any) -> Any:
        made = (3 * f + 1) % 7
        if reduce == "vote":
            return made.long() if tensors else made.astype(np.int64)
        memory[:] = [made, *memory[:1]]
        if len(memory) > 1:
            memory[1][:] = np.nan  # outputs are the model's own: it may use them again
        return made

    window = "hann" if reduce in ("mean", "sum") else "uniform"
    options: dict[str, Any] = {"window": window, "reduce": reduce}
    if some:
        options["where"] = chosen
    got = map_fragments(model, x, grid, batch_size=batch_size, **options)
    memory.clear()
    cut = extract(x, grid)[:, chosen]
    outputs = model(cut.reshape(-1, *cut.shape[2:])).reshape(cut.shape)
    plain = FragmentGrid.checked(
        grid.shape, grid.size, grid.stride, grid.edge, "constant", 0, grid.dilation
    )
    expected = merge(outputs, plain, window=window, reduce=reduce, where=chosen)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=2e-6, atol=2e-6)


def test_only_windows_of_the_foreground_run() -> None:
    x = np.random.default_rng(0).random((1, 1, 64, 64))
    grid = FragmentGrid((64, 64), 8)
    mask = np.zeros((64, 64), bool)
    mask[:8, :8] = True
    seen: list[Any] = []

    def model(f: Any, origins: Any) -> Any:
        seen.extend(origins.tolist())
        return f

    got = map_fragments(model, x, grid, batch_size=8, where=mask, with_origins=True)
    assert seen == [[0, 0]]
    np.testing.assert_allclose(got[..., :8, :8], x[..., :8, :8])
    assert not got[..., 8:, :].any()
    none = map_fragments(model, x, grid, batch_size=8, where=[], with_origins=True)
    assert none is None


def test_origins_are_places_in_the_array() -> None:
    torch = pytest.importorskip("torch")
    grid = FragmentGrid((9, 7), 4, 3, edge="shift")
    rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(7.0), indexing="ij")
    x = torch.stack([rows, columns]).expand(2, 2, 9, 7)

    def model(f: Any, origins: Any) -> Any:
        assert origins.dtype == torch.int64
        assert torch.equal(f[:, :, 0, 0], origins.float())
        return f

    torch.testing.assert_close(
        map_fragments(model, x, grid, batch_size=3, with_origins=True), x.contiguous()
    )


@pytest.mark.parametrize("reduce", ["mean", "median", "min"])
def test_the_halo_is_left_out_of_chosen_windows(reduce: Any) -> None:
    grid = FragmentGrid((20,), 6, 2)
    x = np.arange(20.0).reshape(1, 1, 20)

    def spoiled(f: Any) -> Any:
        f = f.copy()
        f[..., [0, -1]] = np.nan
        return f

    got = map_fragments(
        spoiled,
        x,
        grid,
        batch_size=2,
        window="uniform",
        reduce=reduce,
        halo=1,
        where=[2, 3, 7],
    )[0, 0]
    expected = np.zeros(20)
    expected[5:11] = np.arange(5, 11)
    expected[15:19] = np.arange(15, 19)
    expected[19] = np.nan  # the array's own border is kept
    np.testing.assert_allclose(got, expected)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("stride", [2, 3, 4])
def test_a_vector_a_window_is_a_map_over_counts(keep: bool, stride: int) -> None:
    torch = pytest.importorskip("torch")
    x = torch.randn(2, 3, 10, 9)
    grid = FragmentGrid((10, 9), 4, stride)
    got = map_fragments(lambda f: f.mean((2, 3), keepdim=keep), x, grid, batch_size=4)
    expected = extract(x, grid).mean((3, 4)).movedim(1, 2).reshape(2, 3, *grid.counts)
    torch.testing.assert_close(got, expected)
    chosen = [0, grid.n - 1]
    sparse = map_fragments(lambda f: f.amax((2, 3)), x, grid, batch_size=4, where=chosen)
    peaks = extract(x, grid).amax((3, 4))
    torch.testing.assert_close(sparse.flatten(2)[..., chosen], peaks[:, chosen].movedim(1, 2))


def test_slabs_of_labels_keep_their_type() -> None:
    x = np.arange(12.0).reshape(1, 1, 12)
    grid = FragmentGrid((12,), 4, 2)
    labels = map_fragments(
        lambda f: (f > 5).astype(np.int64), x, grid, batch_size=2, window="uniform", reduce="vote"
    )
    assert labels.dtype == np.int64
    assert labels[0, 0].tolist() == [0] * 6 + [1] * 6
