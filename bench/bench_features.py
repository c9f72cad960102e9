"""Per-fragment features: one pass over the data against the same formula in torch."""

from __future__ import annotations

import numpy as np
import pytest

from tokfrag.fragments import SERIES_FEATURES, FragmentGrid, fragment_features

torch = pytest.importorskip("torch")

NAMES = ("mean", "std", "diff_energy", "lag_corr")
LAGS = tuple(range(1, 9))
SIZE, STRIDE = 256, 64


@pytest.fixture(scope="module")
def series():
    """64 channels of a million samples, as a whole number of strides; 256 MB."""
    torch.set_num_threads(1)
    length = SIZE + STRIDE * ((1_000_000 - SIZE) // STRIDE)
    x = torch.randn(1, 64, length, generator=torch.Generator().manual_seed(0))
    return x, FragmentGrid((length,), SIZE, STRIDE)


def formula(x):
    """Means, deviations, differences and lags of windows, the way one writes it."""
    windows = x.unfold(-1, SIZE, STRIDE)
    mean = windows.mean(-1, keepdim=True)
    deviation = windows - mean
    energy = (deviation * deviation).sum(-1)
    columns = [mean[..., 0], (energy / SIZE).sqrt(), windows.diff(dim=-1).square().mean(-1)]
    columns += [(deviation[..., :-lag] * deviation[..., lag:]).sum(-1) / energy for lag in LAGS]
    return torch.stack(columns, -1)


def eager_by_channel(x):
    return torch.cat([formula(x[:, c : c + 1]) for c in range(x.shape[1])], 1)


@pytest.mark.benchmark(group="features: series 64 x 1e6, size 256, stride 64, 1 thread")
@pytest.mark.parametrize("peer", ["tokfrag", "torch.compile", "torch eager by channel"])
def bench_series(benchmark, series, peer):
    x, grid = series
    if peer == "tokfrag":

        def run():
            return fragment_features(x, grid, NAMES, lags=LAGS, threads=1)
    else:
        function = torch.compile(formula) if peer == "torch.compile" else eager_by_channel

        def run():
            return function(x).transpose(1, 2)

    want = formula(x[:, :1].double()).transpose(1, 2)
    torch.testing.assert_close(run()[:, :, :1].double(), want, rtol=1e-4, atol=1e-5)
    benchmark.extra_info.update(bytes=x.nbytes, peer_version=torch.__version__)
    benchmark.pedantic(run, rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="features: thirty of series 16 x 65536, size 256, stride 64, 1 thread")
@pytest.mark.parametrize(
    "features",
    [SERIES_FEATURES, ("median",), ("skewness",)],
    ids=["thirty", "median", "skewness"],
)
def bench_thirty(benchmark, features):
    x = np.random.default_rng(0).standard_normal((1, 16, 65536)).astype(np.float32)
    grid = FragmentGrid((65536,), SIZE, STRIDE)
    table = fragment_features(x, grid, features, threads=1)
    alone = fragment_features(x[..., :SIZE], FragmentGrid((SIZE,), SIZE), features)
    np.testing.assert_allclose(table[:, :1], alone, rtol=1e-5, atol=1e-5)
    benchmark.extra_info.update(bytes=x.nbytes)
    benchmark.pedantic(
        lambda: fragment_features(x, grid, features, threads=1), rounds=3, warmup_rounds=1
    )


@pytest.mark.benchmark(group="features: images 8 x 3 x 1024^2, size 64, stride 32, 1 thread")
@pytest.mark.parametrize("peer", ["tokfrag", "torch eager"])
def bench_images(benchmark, peer):
    torch.set_num_threads(1)
    x = torch.rand(8, 3, 1024, 1024, generator=torch.Generator().manual_seed(0))
    grid = FragmentGrid((1024, 1024), 64, 32)

    def eager():
        windows = x.unfold(2, 64, 32).unfold(3, 64, 32)
        axes = (-1, -2)
        columns = [windows.mean(axes), windows.std(axes, correction=0)]
        columns += [windows.amin(axes), windows.amax(axes)]
        return torch.stack(columns, -1).flatten(2, 3).transpose(1, 2)

    def ours():
        return fragment_features(x, grid, ("mean", "std", "min", "max"), threads=1)

    torch.testing.assert_close(ours(), eager(), rtol=1e-4, atol=1e-5)
    benchmark.extra_info.update(bytes=x.nbytes, peer_version=torch.__version__)
    benchmark.pedantic(ours if peer == "tokfrag" else eager, rounds=3, warmup_rounds=1)
