"""patchify's CUDA kernel without a GPU: every thread's work, run on the host."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tokfrag import patchify
from tokfrag.stream.layouts import Layout, layout_of
from tokfrag.stream.patches import grid_of
from tokfrag.stream.pixels import read_all
from tokfrag.stream.scaling import scaling_of

torch = pytest.importorskip("torch")

LAYOUTS = ("qwen2_vl", "qwen3_vl", "siglip2", "pixtral", "internvl", "videomae", "clip")
several = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def device(emulated_cuda: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """tokfrag.stream.device, taking CPU tensors to the emulated kernel."""
    from tokfrag.stream import device as own

    @contextmanager
    def launch(x: Any) -> Iterator[tuple[int, int]]:
        yield 0, 0

    monkeypatch.setitem(sys.modules, "tokfrag._cuda", emulated_cuda)
    monkeypatch.setattr(own, "kernels", lambda index: emulated_cuda)
    monkeypatch.setattr(own, "launch", launch)
    return own


def by_kernel(
    device: Any, images: list[Any], layout: Any, dtype: Any, scale: Any = None, shift: Any = None
) -> Any:
    plan = layout_of(layout)
    pixels = read_all(images, plan.channels)
    shapes = [grid_of(*p.shape[:3], plan, "image") for p in pixels]
    grids = np.array(shapes, np.int64)
    out = torch.empty(int(grids.prod(1).sum()), plan.patch_values, dtype=dtype)
    device.fill(out, pixels, grids, plan, scaling_of(plan, scale, shift))
    return out


def pictures(layout: Any, count: int, kind: str, order: str, seed: int) -> list[Any]:
    """Images and videos of several sizes, as views of larger memory here and there."""
    plan = layout_of(layout)
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        h, w = (int(plan.unit * rng.integers(1, 4)) for _ in "hw")
        frames = int(rng.integers(1, 4))
        spare = int(rng.integers(0, 2))
        x = torch.from_numpy(rng.integers(0, 256, (frames, h, w + spare, plan.channels)))
        x = x[:, :, :w].to(torch.uint8) if kind == "uint8" else x[:, :, :w].float() / 7
        x = x if frames > 1 else x[0]
        made.append(x.movedim(-1, -3).contiguous() if order == "first" else x)
    return made


@several
@given(
    st.sampled_from(LAYOUTS),
    st.integers(1, 3),
    st.sampled_from(("uint8", "float32")),
    st.sampled_from(("first", "last")),
    st.sampled_from((torch.float16, torch.bfloat16, torch.float32)),
    st.sampled_from(((None, None), (2.0, None), ((0.1, 0.2, 0.3), (1.0, -2.0, 3.5)))),
    st.integers(0, 1000),
)
def test_patches(
    device: Any,
    layout: str,
    count: int,
    kind: str,
    order: str,
    dtype: Any,
    numbers: Any,
    seed: int,
) -> None:
    """The CPU kernel's bits of bytes; those of torch's operators of floats."""
    images = pictures(layout, count, kind, order, seed)
    made = by_kernel(device, images, layout, dtype, *numbers)
    scale, shift = numbers
    wanted = patchify(images, layout, scale=scale, shift=shift, dtype=dtype).values
    if kind == "uint8":
        assert torch.equal(made, wanted)
    else:  # the CPU's lanes multiply by the inverse
        torch.testing.assert_close(
            made, wanted, rtol=4e-7 if dtype == torch.float32 else 0.01, atol=1e-6
        )


def test_bytes_stay_bytes(device: Any) -> None:
    images = pictures("qwen2_vl", 3, "uint8", "last", 1)
    made = by_kernel(device, images, "qwen2_vl", torch.uint8, 1.0, 0.0)
    wanted = patchify(images, "qwen2_vl", scale=1, shift=0, dtype=torch.uint8).values
    assert torch.equal(made, wanted)


@pytest.mark.parametrize("axes", ["ctyx", "tyxc", "xyct", "cxyt", "ytcx"])
@pytest.mark.parametrize("patch", [3, 7, 8])
def test_every_order_and_odd_sizes(device: Any, axes: str, patch: int) -> None:
    """Patches of no whole number of units, rows shorter than a unit, frames that step."""
    plan = Layout(patch=patch, frames=3, merge=2, axes=axes)
    rng = np.random.default_rng(0)
    video = torch.from_numpy(rng.integers(0, 256, (5, 4 * patch, 2 * patch, 3), np.uint8))
    for dtype in (torch.float32, torch.float16):
        made = by_kernel(device, [video, video[:2]], plan, dtype)
        assert torch.equal(made, patchify([video, video[:2]], plan, dtype=dtype).values)


def test_more_images_than_a_launch_holds(device: Any) -> None:
    images = pictures("siglip2", 71, "uint8", "first", 2)
    made = by_kernel(device, images, "siglip2", torch.float16)
    assert torch.equal(made, patchify(images, "siglip2", dtype=torch.float16).values)
