"""patchify's CUDA kernel on a GPU, against the CPU's."""

from __future__ import annotations

from typing import Any

import pytest

from tokfrag import patchify

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("torch sees no CUDA device", allow_module_level=True)
pytest.importorskip("tokfrag._cuda", reason="tokfrag was built without nvcc")

LAYOUTS = ("qwen2_vl", "qwen3_vl", "siglip2", "pixtral", "internvl", "videomae", "clip")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("first", [False, True])
def test_patches_have_the_same_bits(layout: str, dtype: Any, first: bool) -> None:
    torch.manual_seed(0)
    side = 16 * 14 * 2
    sizes = ((side, 2 * side), (side, side), (2 * side, side))
    images = [torch.randint(0, 256, (*size, 3), dtype=torch.uint8) for size in sizes]
    images = [x.movedim(-1, 0).contiguous() for x in images] if first else images
    made = patchify([x.cuda() for x in images], layout, dtype=dtype).values
    assert made.is_cuda
    assert torch.equal(made.cpu(), patchify(images, layout, dtype=dtype).values)
    out = torch.full_like(made, 7)
    assert patchify([x.cuda() for x in images], layout, dtype=dtype, out=out).values is out
    assert torch.equal(out, made)


def test_out_lies_where_the_images_do() -> None:
    image = torch.zeros(56, 56, 3, dtype=torch.uint8, device="cuda")
    with pytest.raises(ValueError, match="out: takes a contiguous tensor on cuda:0"):
        patchify(image, "qwen2_vl", out=torch.empty(16, 1176))
