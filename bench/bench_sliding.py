"""Sliding-window inference with a model that costs nothing: what cutting and merging take."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    inferers = pytest.importorskip("monai.inferers", exc_type=ImportError)
    import monai

from tokfrag.compat.monai import sliding_window_inference  # noqa: E402
from tokfrag.fragments import FragmentGrid, map_fragments  # noqa: E402


def identity(fragments):
    return fragments


@pytest.mark.filterwarnings("ignore")
@pytest.mark.benchmark(group="sliding window: volume 192^3, size 64, stride 32, identity, 1 thread")
@pytest.mark.parametrize("peer", ["tokfrag map_fragments", "tokfrag.compat.monai", "monai"])
def bench_volume(benchmark, peer):
    torch.set_num_threads(1)
    x = torch.rand(1, 1, 192, 192, 192, generator=torch.Generator().manual_seed(0))
    grid = FragmentGrid((192, 192, 192), 64, 32)

    def run():
        if peer == "tokfrag map_fragments":
            return map_fragments(identity, x, grid, batch_size=4, threads=1)
        inference = (
            inferers.sliding_window_inference if peer == "monai" else sliding_window_inference
        )
        return inference(x, (64,) * 3, 4, identity, overlap=0.5, mode="gaussian")

    torch.testing.assert_close(run(), x, rtol=1e-4, atol=1e-5)
    benchmark.extra_info.update(bytes=x.nbytes, peer_version=monai.__version__)
    benchmark.pedantic(run, rounds=3, warmup_rounds=1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.benchmark(group="sliding window: images 2 x 3 x 1024^2, size 128, stride 64, 1 thread")
@pytest.mark.parametrize("peer", ["tokfrag map_fragments", "tokfrag.compat.monai", "monai"])
def bench_images(benchmark, peer):
    torch.set_num_threads(1)
    x = torch.rand(2, 3, 1024, 1024, generator=torch.Generator().manual_seed(0))
    grid = FragmentGrid((1024, 1024), 128, 64)

    def run():
        if peer == "tokfrag map_fragments":
            return map_fragments(identity, x, grid, batch_size=8, threads=1)
        inference = (
            inferers.sliding_window_inference if peer == "monai" else sliding_window_inference
        )
        return inference(x, (128, 128), 8, identity, overlap=0.5, mode="gaussian")

    torch.testing.assert_close(run(), x, rtol=1e-4, atol=1e-5)
    benchmark.extra_info.update(bytes=x.nbytes, peer_version=monai.__version__)
    benchmark.pedantic(run, rounds=3, warmup_rounds=1)
