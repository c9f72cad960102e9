"""segment_merge and unmerge against their twin, and as torch operators."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import _core
from tokfrag.fragments.operators import segments as operators
from tokfrag.fragments.segments import segment_merge, unmerge
from tokfrag.reference import segments as reference

torch = pytest.importorskip("torch")

TOLERANCE = {"float16": 1e-3, "float32": 1e-6, "float64": 1e-13}


@st.composite
def problems(draw):
    """x, index, n, weight: with batches, wide rows, empty axes, any strides."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, n = draw(st.integers(0, 150)), draw(st.integers(1, 12))
    lead = draw(st.sampled_from([(rows,), (2, rows), (0, rows)]))
    features = draw(st.sampled_from([(), (1,), (3, 2), (0,), (300,), (1100,)]))
    dtype = draw(st.sampled_from(sorted(TOLERANCE)))
    x = rng.standard_normal((*lead, *features)).astype(dtype)
    if draw(st.booleans()):
        x = np.flip(x, axis=draw(st.integers(0, x.ndim - 1)))
    if draw(st.booleans()):
        x = np.repeat(x, 2, axis=len(lead) - 1)[..., ::2, :] if features == (3,) else x
    index = rng.integers(0, n, lead).astype(draw(st.sampled_from(["int64", "int32", "uint8"])))
    weight = None
    if draw(st.booleans()):
        weight = rng.uniform(0.1, 2, lead) * (rng.uniform(size=lead) > 0.2)
    return x, index, n, weight


@given(problems())
def test_equals_the_twin(problem):
    x, index, n, weight = problem
    got = segment_merge(x, index, n, weight=weight)
    want = reference.segment_merge(x, index, n, weight=weight)
    for ours, theirs in zip(got, want, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(
            ours, theirs, rtol=TOLERANCE[x.dtype.name], atol=1e-3 if x.dtype == np.float16 else 1e-6
        )


@given(problems())
def test_unmerge_equals_the_twin(problem):
    x, index, n, weight = problem
    y, _ = segment_merge(x, index, n, weight=weight)
    np.testing.assert_array_equal(unmerge(y, index), reference.unmerge(y, index))


@given(problems(), st.integers(1, 5))
def test_any_number_of_threads_and_either_kind_of_array_give_the_same_bits(problem, threads):
    x, index, n, weight = problem
    one = segment_merge(x, index, n, weight=weight, threads=1)
    many = segment_merge(x, index, n, weight=weight, threads=threads)
    tensor = segment_merge(
        torch.from_numpy(x.copy()),
        torch.from_numpy(index.copy()),
        n,
        weight=None if weight is None else torch.from_numpy(weight),
    )
    for a, b, c in zip(one, many, tensor, strict=True):
        assert a.tobytes() == b.tobytes() == c.numpy().tobytes()


def test_many_rows_on_many_threads_give_the_same_bits():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50_000, 33)).astype(np.float32)
    index = rng.integers(0, 700, 50_000)
    weight = rng.uniform(size=50_000)
    results = [segment_merge(x, index, 700, weight=weight, threads=t)[0] for t in (1, 2, 4)]
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()


CODE = """
import hashlib, numpy as np
from tokfrag.fragments.segments import segment_merge, unmerge
rng = np.random.default_rng(1)
digest = hashlib.sha256()
for dtype in ("float16", "float32", "float64"):
    for columns in (1, 7, 600):
        x = rng.standard_normal((500, columns)).astype(dtype)
        index = rng.integers(0, 9, 500)
        y, total = segment_merge(x, index, 9, weight=rng.uniform(size=500))
        digest.update(y.tobytes() + total.tobytes() + unmerge(y, index).tobytes())
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
            timeout=60,
        ).stdout
        for isa in _core.supported_isas()
    }
    assert len(digests) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float(dtype):
    value = torch.tensor(0.1, dtype=dtype)
    y, weight_sum = segment_merge(value.expand(5000, 3), torch.zeros(5000, dtype=torch.int64), 2)
    assert torch.equal(y[0], value.expand(3))
    assert torch.equal(y[1], torch.zeros(3, dtype=dtype))
    assert weight_sum.tolist() == [5000.0, 0.0]


def test_long_sums_stay_accurate():
    x = np.full((1_000_000, 1), 0.1, np.float32)
    y, weight_sum = segment_merge(
        x, np.zeros(1_000_000, np.int64), 1, weight=np.full(1_000_000, 0.3)
    )
    np.testing.assert_allclose(y, 0.1, rtol=5e-7)
    np.testing.assert_allclose(weight_sum, 0.3 * 1e6, rtol=1e-7)


def test_a_nan_stays_in_its_segment_and_weights_that_sum_to_zero_give_zero():
    x = np.array([1.0, np.nan, 3.0, 4.0])
    y, weight_sum = segment_merge(
        x, np.array([0, 1, 2, 2]), 3, weight=np.array([1.0, 1.0, 1.0, -1.0])
    )
    np.testing.assert_array_equal(y, [1.0, np.nan, 0.0])
    assert weight_sum.tolist() == [1.0, 1.0, 0.0]


def inputs():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(10, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.rand(10, dtype=torch.float64, generator=generator) + 0.1
    return x, torch.tensor([0, 2, 2, 1, 4, 4, 4, 0, 2, 2]), weight.requires_grad_()


def test_gradients_of_first_and_second_order():
    x, index, weight = inputs()

    def merged(x, weight):
        return segment_merge(x, index, 6, weight=weight)

    assert torch.autograd.gradcheck(merged, (x, weight))
    assert torch.autograd.gradgradcheck(merged, (x, weight))
    assert torch.autograd.gradcheck(lambda x: segment_merge(x, index, 6)[0], (x,))
    assert torch.autograd.gradgradcheck(lambda x: unmerge(x, index), (x,))
    batched = torch.stack([x.detach(), -x.detach()]).requires_grad_()
    both = torch.stack([index, index.flip(0)])
    assert torch.autograd.gradcheck(lambda x: segment_merge(x, both, 6)[0], (batched,))


def test_operators_pass_opcheck():
    assert operators.check  # defines them
    x, index, weight = inputs()
    for mean in (True, False):
        torch.library.opcheck(
            torch.ops.tokfrag.segment_reduce.default, (x, index, weight, 6, mean, 0)
        )
    torch.library.opcheck(torch.ops.tokfrag.segment_reduce.default, (x, index, None, 6, True, 0))
    torch.library.opcheck(torch.ops.tokfrag.segment_gather.default, (x, index, weight, 0))


def test_compiles_as_one_graph_with_dynamic_shapes():
    @torch.compile(fullgraph=True, dynamic=True)
    def merged(x, index, weight):
        y, total = segment_merge(x, index, 6, weight=weight)
        return unmerge(y * 2, index), total

    for rows in (10, 7):
        x, index, weight = (t[:rows].detach() for t in inputs())
        y, total = segment_merge(x, index, 6, weight=weight)
        got = merged(x.requires_grad_(), index, weight)
        torch.testing.assert_close(got, (unmerge(y * 2, index), total), rtol=0, atol=0)


def test_the_torch_fallback_agrees():
    from tokfrag.fragments.engines import rows

    x, index, weight = (t.detach() for t in inputs())
    both, twice = torch.stack([x, 2 * x]), torch.stack([index, index.flip(0)])
    for mean in (True, False):
        for w in (weight, None):
            ours = torch.ops.tokfrag.segment_reduce(x, index, w, 6, mean, 0)
            torch.testing.assert_close(rows.reduce_in_order(x, index, w, 6, mean), ours)
        ours = torch.ops.tokfrag.segment_reduce(both, twice, None, 6, mean, 0)
        torch.testing.assert_close(rows.reduce_in_order(both, twice, None, 6, mean), ours)
    for scale in (weight, None):
        ours = torch.ops.tokfrag.segment_gather(x, index, scale, 0)
        torch.testing.assert_close(rows.gather(x, index, scale), ours)
    ours = torch.ops.tokfrag.segment_gather(both, twice, None, 0)
    torch.testing.assert_close(rows.gather(both, twice, None), ours)
    with pytest.raises(IndexError, match="index: got values from 0 to 4"):
        rows.reduce_in_order(x, index, None, 3, True)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n": -1}, ValueError, "n: got -1"),
        ({"n": 1.5}, TypeError, "n: got 1.5"),
        ({"n": 2}, IndexError, "index: got 2 at position 1, takes values in \\[0, 2\\)"),
        ({"index": np.array([0, -1, 2])}, IndexError, "index: got -1 at position 1"),
        ({"index": np.array([0.0, 1.0, 2.0])}, TypeError, "index: got float64"),
        ({"index": np.array([0, 1])}, ValueError, "x: got shape \\(3, 2\\)"),
        ({"index": np.zeros((3, 2, 1), int)}, ValueError, "index: got shape \\(3, 2, 1\\)"),
        ({"x": np.zeros((3, 2), int)}, TypeError, "x: got int64"),
        ({"x": np.zeros((3, 2), complex)}, TypeError, "x: got complex128"),
        ({"weight": np.ones((3, 2))}, ValueError, "weight: got shape \\(3, 2\\)"),
        ({"weight": np.ones(3, int)}, TypeError, "weight: got int64"),
        ({"threads": 0}, ValueError, "threads: got 0"),
    ],
)
def test_bad_input_gets_one_clear_exception(change, error, message):
    arguments = {"x": np.ones((3, 2)), "index": np.array([0, 2, 1]), "n": 3, **change}
    with pytest.raises(error, match=message):
        segment_merge(arguments.pop("x"), arguments.pop("index"), arguments.pop("n"), **arguments)


def test_bad_tensors_get_one_clear_exception():
    x, index = torch.ones(3, 2), torch.tensor([0, 2, 1])
    with pytest.raises(TypeError, match="index: got ndarray, takes a tensor"):
        segment_merge(x, index.numpy(), 3)
    with pytest.raises(ValueError, match="index: got device meta"):
        segment_merge(x, index.to("meta"), 3)
    with pytest.raises(TypeError, match=r"x: got torch\.int64"):
        segment_merge(index, index, 3)
    with pytest.raises(TypeError, match=r"index: got torch\.bool"):
        segment_merge(x, index > 0, 3)
    with pytest.raises(IndexError, match="index: got 2 at position 1"):
        unmerge(x[:2], index)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert segment_merge(x[:0], index[:0], 4)[0].shape == (4, 2)
