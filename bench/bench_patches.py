"""Images to a model's patches: against transformers' processor and torch's operators by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from peers import describe, need
from tokfrag.stream import LAYOUTS, patchify

torch = pytest.importorskip("torch")

SIDE = 1008  # the multiple of 28 that is next to 1024


@pytest.fixture(scope="module")
def image() -> Any:
    torch.set_num_threads(1)
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def by_hand(image: Any) -> Any:
    """Normalise, reshape, permute, copy: what servers write."""
    plan = LAYOUTS["qwen2_vl"]
    mean, std = (torch.tensor(v)[:, None, None] * 255 for v in (plan.mean, plan.std))
    x = (torch.from_numpy(image).permute(2, 0, 1).to(torch.float32) - mean) / std
    n = SIDE // 28
    x = x.reshape(3, n, 2, 14, n, 2, 14).permute(1, 4, 2, 5, 0, 3, 6)
    doubled = x.unsqueeze(5).expand(-1, -1, -1, -1, -1, 2, -1, -1)
    return doubled.reshape(4 * n * n, -1).contiguous()


@pytest.mark.benchmark(group="patchify: qwen2_vl, 1008 x 1008 uint8 to float32, 1 thread")
@pytest.mark.parametrize("peer", ["tokfrag", "torch by hand", "transformers", "copy of the output"])
def bench_qwen2_vl(benchmark: Any, image: Any, peer: str) -> None:
    out = np.empty((4 * (SIDE // 28) ** 2, 1176), np.float32)
    patchify(image, "qwen2_vl", out=out, threads=1)
    target = np.zeros_like(out)
    if peer == "transformers":
        module = need("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
        processor = module.Qwen2VLImageProcessorPil()

        def run() -> Any:
            return processor(images=[image], do_resize=False, return_tensors="np")

        assert np.array_equal(run()["pixel_values"], out)
    elif peer == "torch by hand":

        def run() -> Any:
            return by_hand(image)

        assert np.allclose(run().numpy(), out, atol=1e-5)
    elif peer == "tokfrag":

        def run() -> Any:
            return patchify(image, "qwen2_vl", out=target, threads=1)

    else:  # a floor: the bytes of the output read once and written once

        def run() -> Any:
            np.copyto(target, out)

    describe(benchmark, peer.split()[0], bytes=image.nbytes + out.nbytes)
    benchmark.pedantic(run, rounds=9, warmup_rounds=1)


@pytest.mark.benchmark(group="patchify: 64 images of mixed sizes")
@pytest.mark.parametrize("threads", [1, 2])
def bench_mixed_sizes_tokfrag(benchmark: Any, threads: int) -> None:
    random = np.random.default_rng(0)
    images = [
        random.integers(0, 256, (28 * h, 28 * w, 3), dtype=np.uint8)
        for h, w in random.integers(4, 24, (64, 2))
    ]
    first = patchify(images, "qwen2_vl", threads=1)
    out = np.empty_like(first.values)
    benchmark.pedantic(
        lambda: patchify(images, "qwen2_vl", out=out, threads=threads), rounds=9, warmup_rounds=1
    )
    assert np.array_equal(out, first.values)
