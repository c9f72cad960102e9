"""Batches of fragments, cut and merged as they come, against their twin."""

from __future__ import annotations

import os
from math import prod

import numpy as np
import pytest
from hypothesis import given, strategies as st

from support import run_python
from tokfrag import _core
from tokfrag._arrays import dtype_code
from tokfrag._core.stitching import Slab, cut_at, window_places
from tokfrag.fragments import FragmentGrid
from tokfrag.fragments.streams.weight_sums import WeightSums
from tokfrag.reference.stitching import cut, stitch_add, stitch_emit

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")


@st.composite
def windows(draw):
    """A slab's lengths, and windows that fit in it."""
    rank = draw(st.integers(1, 4))
    size = tuple(draw(st.integers(1, {1: 40, 2: 9, 3: 5, 4: 3}[rank])) for _ in range(rank))
    dilation = tuple(draw(st.integers(1, 2)) for _ in range(rank))
    extent = [step * (w - 1) + 1 for w, step in zip(size, dilation, strict=True)]
    lengths = tuple(reach + draw(st.integers(0, 5)) for reach in extent)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(0, 4))
    origins = [rng.integers(0, n - e + 1, count) for n, e in zip(lengths, extent, strict=True)]
    return rng, size, dilation, lengths, np.stack(origins, 1)


@given(windows(), st.sampled_from(DTYPES), st.integers(1, 3), st.booleans())
def test_cut_equals_its_twin(problem, dtype, threads, flipped):
    rng, size, dilation, lengths, origins = problem
    x = rng.integers(0, 2, (3, 2, *lengths)).astype(dtype) * rng.integers(1, 50)
    x = np.ascontiguousarray(x.T).T if flipped else x
    x = x[..., ::-1] if flipped else x
    places = np.concatenate([rng.integers(0, 3, (len(origins), 1)), origins], 1)
    out = np.empty((len(places), 2, *size), x.dtype)
    cut_at(
        x.ctypes.data, x.itemsize, x.shape, x.strides, size, dilation, places, out.ctypes.data,
        threads,
    )  # fmt: skip
    np.testing.assert_array_equal(out, cut(x, places, size, dilation))


@given(
    windows(),
    st.sampled_from(DTYPES),
    st.sampled_from(["vectors", "whole", "ones", "max"]),
    st.booleans(),
    st.integers(1, 3),
)
def test_slab_equals_its_twin(problem, dtype, weights, wide, threads):
    rng, size, dilation, lengths, origins = problem
    kind = np.float64 if wide else np.float32
    origins = origins.copy()
    origins[:, 0] = rng.integers(0, 3 * lengths[0], len(origins))  # around the ring
    fragments = (rng.standard_normal((len(origins), 2, *size)) * 20).astype(dtype)
    keep_max = weights == "max"
    sums = np.full((2, *lengths), -np.inf if keep_max else 0, kind)
    want = sums.copy()
    vectors = [rng.uniform(0.5, 2, (1, w)).astype(kind) for w in size]
    window = np.ones(size, kind)
    whole = np.ascontiguousarray(rng.uniform(0.5, 2, size), kind)
    if weights == "vectors":
        for axis, vector in enumerate(vectors):
            window = window * vector[0].reshape([-1 if a == axis else 1 for a in range(len(size))])
    elif weights == "whole":
        window = whole
    slab = Slab(sums.ctypes.data, wide, 2, lengths)
    slab.add(
        dtype_code(fragments.dtype),
        fragments.ctypes.data,
        1,
        fragments.strides,
        size,
        dilation,
        origins,
        tuple(v.ctypes.data if weights == "vectors" else 0 for v in vectors),
        np.zeros_like(origins),
        whole.ctypes.data if weights == "whole" else 0,
        keep_max,
        threads,
    )
    stitch_add(want, fragments, origins, window, dilation, keep_max=keep_max)
    close = {"rtol": 1e-12 if wide else 2e-5, "atol": 1e-12 if wide else 2e-3}
    np.testing.assert_allclose(sums, want, **close)

    thickness = int(rng.integers(1, lengths[0] + 1))
    extents = (thickness, *(int(rng.integers(1, n + 1)) for n in lengths[1:]))
    factors = [rng.integers(0, 3, n).astype(kind) for n in extents]
    product = np.ones((), kind)
    for vector in factors:
        product = product[..., None] * vector
    first = int(rng.integers(0, 2 * lengths[0]))
    out = np.empty((2, *extents), kind)
    slab.emit(
        dtype_code(out.dtype),
        out.ctypes.data,
        1,
        out.strides,
        first,
        extents,
        tuple(vector.ctypes.data for vector in factors),
        0,
        (),
        keep_max,
        threads,
    )
    np.testing.assert_allclose(out, stitch_emit(want, first, product, keep_max=keep_max), **close)
    np.testing.assert_allclose(sums, want, **close)


@given(st.integers(1, 4), st.integers(0, 2**32), st.sampled_from([np.float32, np.float64]))
def test_slab_is_divided_by_rows_of_a_table(rank, seed, kind):
    rng = np.random.default_rng(seed)
    lengths = tuple(int(rng.integers(1, n)) for n in (90, 12, 6, 5)[:rank][::-1])
    sums = rng.standard_normal((2, *lengths)).astype(kind)
    extents = tuple(int(rng.integers(1, n + 1)) for n in lengths)
    table = rng.integers(0, 3, lengths).astype(kind)
    places = [rng.integers(0, n, count) for n, count in zip(lengths, extents, strict=True)][:-1]
    rows = [at * prod(lengths[axis + 1 :]) for axis, at in enumerate(places)]
    first = int(rng.integers(0, 2 * lengths[0]))
    at = np.arange(first, first + extents[0]) % lengths[0]
    held = sums[(slice(None), at, *map(slice, extents[1:]))]
    by = table[np.ix_(*places, np.arange(extents[-1]))]
    want = np.divide(held, by, out=np.zeros_like(held), where=by != 0)
    # Large enough a channel to be written around the cache, or small.
    room = int(rng.choice([0, 1 << 24]))
    memory = np.empty(prod(extents) * (2 if room == 0 else 1) + room, kind)
    step = prod(extents) if room == 0 else room
    strides = [step, *(prod(extents[axis + 1 :]) for axis in range(rank))]
    out = np.lib.stride_tricks.as_strided(
        memory, (2, *extents), [n * memory.itemsize for n in strides]
    )
    none = (0,) * rank
    slab = Slab(sums.ctypes.data, kind == np.float64, 2, lengths)
    slab.emit(
        dtype_code(out.dtype), out.ctypes.data, 1, out.strides, first, extents, none,
        table.ctypes.data, tuple(row.ctypes.data for row in rows), False, 2,
    )  # fmt: skip
    np.testing.assert_array_equal(out, want)
    assert not sums[:, at].any()


@given(st.integers(1, 3), st.integers(0, 2**32), st.sampled_from(["pad", "drop", "shift"]))
def test_weight_sums_are_those_of_all_windows(rank, seed, edge):
    rng = np.random.default_rng(seed)
    size = tuple(int(n) for n in rng.integers(1, 6, rank))
    stride = tuple(int(n) for n in rng.integers(1, 7, rank))
    dilation = tuple(int(n) for n in rng.integers(1, 3, rank))
    extent = [d * (w - 1) + 1 for w, d in zip(size, dilation, strict=True)]
    most = (160, 40, 20)[rank - 1]
    shape = tuple(int(rng.integers(e, most)) for e in extent)
    grid = FragmentGrid.checked(shape, size, stride, edge, "constant", 0, dilation)
    numbers = rng.integers(0, 3 * grid.n, 5) if grid.n else np.zeros(0, np.int64)
    places = window_places(grid.plan, numbers)
    np.testing.assert_array_equal(places[:, 0], numbers // max(grid.n, 1))
    np.testing.assert_array_equal(places[:, 1:], grid.origins[numbers % max(grid.n, 1)])
    window = rng.uniform(0.5, 2, size)
    want = np.zeros((1, *grid.padded_shape))
    stitch_add(want, np.ones((grid.n, 1, *size)), grid.origins, window, dilation)
    sums = WeightSums(grid, window, threads=1)
    first = int(rng.integers(0, shape[0]))
    inside = (slice(None), slice(first, shape[0]), *map(slice, shape[1:]))
    np.testing.assert_array_equal(sums.over(slice(first, shape[0])), want[inside])
    assert sums.table.size <= want.size


BITS = """
import hashlib
import numpy as np
from tokfrag import FragmentGrid, map_fragments
x = np.random.default_rng(0).standard_normal((2, 2, 37, 30, 41)).astype(np.float32)
grid = FragmentGrid(x.shape[2:], (12, 9, 16), (5, 4, 7))
total = hashlib.sha256()
for threads in (1, 3):
    for window in ("uniform", "gaussian", np.random.default_rng(1).uniform(1, 2, grid.size)):
        done = map_fragments(lambda f: f, x, grid, batch_size=7, window=window, threads=threads)
        total.update(done.tobytes())
    if threads == 1:
        one = total.hexdigest()
        total = hashlib.sha256()
assert one == total.hexdigest()
print(one)
"""


def test_same_bits_for_every_instruction_set_and_thread_count():
    told = {
        run_python(BITS, TOKFRAG_ISA=isa, TOKFRAG_NUM_THREADS="3").stdout
        for isa in _core.supported_isas()
    }
    assert len(told) == 1
    assert len(told.pop().strip()) == 64, os.environ.get("TOKFRAG_ISA")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_results_go_straight_into_any_strides(dtype):
    from tokfrag import FragmentGrid, map_fragments

    x = np.random.default_rng(0).standard_normal((2, 3, 20, 14)).astype(np.float32)
    grid = FragmentGrid((20, 14), 6, 4, edge="shift")
    held = np.zeros((2, 40, 14, 3), dtype)
    out = held.transpose(0, 3, 1, 2)[:, :, ::2]
    assert map_fragments(lambda f: f, x, grid, batch_size=5, out=out) is out
    np.testing.assert_allclose(out, x.astype(dtype), rtol=2e-3, atol=1e-3)
    assert not held[:, 1::2].any()
