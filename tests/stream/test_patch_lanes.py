"""Patches of all widths and orders: the kernel's bits are those of torch's own operators."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag.stream import LAYOUTS, Layout, pack, patchify, unpatchify
from tokfrag.stream.pixels import read_all
from tokfrag.stream.scaling import scaling_of

torch = pytest.importorskip("torch")

ORDERS = ["ctyx", "tyxc", "tcyx", "yxtc", "ytxc", "cytx", "xyct"]


@settings(max_examples=60, deadline=None)
@given(
    patch=st.sampled_from([3, 7, 8, 9, 14, 15, 16, 17, 31, 32, 33, 112]),
    frames=st.integers(1, 3),
    merge=st.integers(1, 3),
    axes=st.sampled_from(ORDERS),
    channels=st.integers(1, 4),
    formula=st.sampled_from(["stepwise", "fused", "given"]),
    grid=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    given_frames=st.integers(1, 4),
    kind=st.sampled_from(["uint8", "float32"]),
    out=st.sampled_from(["float32", "float16", "bfloat16"]),
    first=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_bits_of_torchs_operators(
    patch: int, frames: int, merge: int, axes: str, channels: int, formula: Any,
    grid: tuple[int, int], given_frames: int, kind: str, out: str, first: bool, seed: int,
) -> None:  # fmt: skip
    from tokfrag.stream.composed import composed

    if patch == 112:
        merge, grid = min(merge, 2), (1, 1)  # tall patches, computed by parts
    own = formula == "given"
    plan = Layout(
        patch, frames, merge, axes,
        mean=(0.48, 0.46, 0.41, 0.5)[:channels], std=(0.27, 0.26, 0.28, 0.5)[:channels],
        formula="fused" if own else formula,
    )  # fmt: skip
    random = np.random.default_rng(seed)
    shape = (given_frames, grid[0] * plan.unit, grid[1] * plan.unit, channels)
    video: Any = random.integers(0, 256, shape).astype(kind)
    if kind == "float32":
        video += random.random(shape, dtype=np.float32)
    video = torch.from_numpy(video)
    given_video = video.permute(0, 3, 1, 2).contiguous() if first else video
    if channels == video.shape[1]:
        return  # which axis the channels are cannot be told
    scale, shift = (1 / 3, 0.1) if own else (None, None)
    made = patchify([given_video], plan, scale=scale, shift=shift, dtype=getattr(torch, out))
    expected = composed(
        read_all([given_video], channels), made.grid_thw, plan, scaling_of(plan, scale, shift),
        getattr(torch, out),
    )  # fmt: skip
    assert torch.equal(made.values, expected)
    if out == "float32":
        [back] = unpatchify(made, dtype=np.float32)
        np.testing.assert_allclose(back, video.numpy(), atol=1e-3)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("video", [False, True])
def test_large_outputs_of_every_layout_go_back(name: str, video: bool) -> None:
    """Past the caches: more than 4 MB of values, in odd numbers of units."""
    plan = LAYOUTS[name]
    units = (1, 3) if plan.unit > 100 else (517 // plan.unit, 901 // plan.unit)
    shape = (3,) * video + (units[0] * plan.unit, units[1] * plan.unit, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    images = [image, image[..., : plan.unit, :]]
    one, two = (patchify(images, name, threads=threads) for threads in (1, 2))
    assert one.values.nbytes > 4 << 20
    assert np.array_equal(one.values, two.values)
    for back, whole in zip(unpatchify(one), images, strict=True):
        assert np.array_equal(back, whole)


def test_pickled_and_shown() -> None:
    patches = patchify(np.zeros((28, 56, 3), np.uint8), "qwen2_vl")
    again = pickle.loads(pickle.dumps(patches))
    assert repr(again) == "Patches(8 of 1176 float32, 1 items)"
    assert np.array_equal(unpatchify(again)[0], unpatchify(patches)[0])
    packed = pickle.loads(pickle.dumps(pack([[1, 2], [3]], 4)))
    assert repr(packed) == "Packed(1 rows of 4, 75.0% full)"
