"""Per-fragment features: one pass over the data against the same formula in torch."""

from __future__ import annotations

import numpy as np
import pytest

from tokfrag.fragments import SERIES_FEATURES, FragmentGrid, fragment_features

torch = pytest.importorskip("torch")

FIVE = ("mean", "std", "min", "max", "diff_energy")
# What is asked of a series: features and lags.
CASES: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "five": (FIVE, ()),
    "five and lags 1 to 3": ((*FIVE, "lag_corr"), (1, 2, 3)),
    "mean, std, diff_energy and lags 1 to 8": (
        ("mean", "std", "diff_energy", "lag_corr"),
        tuple(range(1, 9)),
    ),
}
SERIES = {"16 x 499968": (16, 499_968), "64 x 1e6": (64, 1_000_000)}
SIZE, STRIDE = 256, 64


@pytest.fixture(scope="module", params=list(SERIES))
def series(request):
    """Channels of samples, as whole numbers of strides: 32 MB, and 256."""
    torch.set_num_threads(1)
    channels, length = SERIES[request.param]
    length = SIZE + STRIDE * ((length - SIZE) // STRIDE)
    x = torch.randn(1, channels, length, generator=torch.Generator().manual_seed(0))
    return x, FragmentGrid((length,), SIZE, STRIDE)


def formula(x, names, lags):
    """The features of windows, the way one writes them."""
    windows = x.unfold(-1, SIZE, STRIDE)
    mean = windows.mean(-1, keepdim=True)
    deviation = windows - mean
    energy = (deviation * deviation).sum(-1)
    made = {
        "mean": lambda: mean[..., 0],
        "std": lambda: (energy / SIZE).sqrt(),
        "min": lambda: windows.amin(-1),
        "max": lambda: windows.amax(-1),
        "diff_energy": lambda: windows.diff(dim=-1).square().mean(-1),
    }
    columns = [made[name]() for name in names if name != "lag_corr"]
    columns += [(deviation[..., :-lag] * deviation[..., lag:]).sum(-1) / energy for lag in lags]
    return torch.stack(columns, -1)


@pytest.mark.benchmark(group="features: series, size 256, stride 64, 1 thread")
@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize(
    "peer", ["tokfrag", "torch.compile", "torch eager by channel", "reading once"]
)
def bench_series(benchmark, series, peer, case):
    x, grid = series
    names, lags = CASES[case]
    benchmark.group = f"features: {case}, series {x.shape[1]} x {x.shape[2]}, 256/64, 1 thread"
    torch.compiler.reset()  # or sizes seen before would become variables of the loops
    compiled = torch.compile(formula, dynamic=False)

    def run():
        if peer == "tokfrag":
            return fragment_features(x, grid, names, lags=lags, threads=1)
        if peer == "torch.compile":
            return compiled(x, names, lags).transpose(1, 2)
        if peer == "reading once":
            return x.sum()
        by_channel = [formula(x[:, c : c + 1], names, lags) for c in range(x.shape[1])]
        return torch.cat(by_channel, 1).transpose(1, 2)

    made = run()
    if peer != "reading once":
        want = formula(x[:, :1].double(), names, lags).transpose(1, 2)
        torch.testing.assert_close(made[:, :, :1].double(), want, rtol=1e-4, atol=1e-5)
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
