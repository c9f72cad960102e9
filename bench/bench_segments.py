"""Merging rows by destination: against torch's scatter operators and NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from tokfrag.fragments import segment_merge, unmerge

torch = pytest.importorskip("torch")

ROWS, SEGMENTS, COLUMNS = 200_000, 20_000, 128


@pytest.fixture(scope="module")
def problem():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, COLUMNS, generator=generator)
    index = torch.randint(0, SEGMENTS, (ROWS,), generator=generator)
    return x, index, torch.rand(ROWS, generator=generator) + 0.5


def by_index_add(x, index, weight):
    y = x.new_zeros(SEGMENTS, COLUMNS).index_add_(0, index, x * weight[:, None])
    total = weight.new_zeros(SEGMENTS).index_add_(0, index, weight)
    return y / total[:, None]


def by_scatter_reduce(x, index, weight):
    places = index[:, None].expand_as(x)
    y = x.new_zeros(SEGMENTS, COLUMNS).scatter_add_(0, places, x * weight[:, None])
    return y / weight.new_zeros(SEGMENTS).scatter_add_(0, index, weight)[:, None]


def by_numpy(x, index, weight):
    order = np.argsort(index.numpy(), kind="stable")
    edges = np.searchsorted(index.numpy()[order], np.arange(SEGMENTS))
    y = np.add.reduceat((x.numpy() * weight.numpy()[:, None])[order], edges)
    return torch.from_numpy(y / np.add.reduceat(weight.numpy()[order], edges)[:, None])


PEERS = {
    "tokfrag": lambda x, index, weight: segment_merge(x, index, SEGMENTS, weight=weight, threads=1)[
        0
    ],
    "torch index_add_": by_index_add,
    "torch scatter_add_": by_scatter_reduce,
    "numpy reduceat": by_numpy,
}


@pytest.mark.benchmark(group="segment_merge: 200k x 128 float32 into 20k, weighted, 1 thread")
@pytest.mark.parametrize("peer", PEERS)
def bench_weighted(benchmark, problem, peer):
    x, index, weight = problem
    got = PEERS[peer](x, index, weight)
    torch.testing.assert_close(got, PEERS["tokfrag"](x, index, weight), rtol=1e-4, atol=1e-5)
    benchmark.extra_info.update(bytes=x.nbytes, peer_version=torch.__version__)
    benchmark.pedantic(PEERS[peer], args=(x, index, weight), rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="unmerge: 200k x 128 float32 from 20k, 1 thread")
@pytest.mark.parametrize("peer", ["tokfrag", "torch index_select"])
def bench_unmerge(benchmark, problem, peer):
    x, index, _ = problem
    y = x[:SEGMENTS].contiguous()

    def ours():
        return unmerge(y, index, threads=1)

    def theirs():
        return y.index_select(0, index)

    assert torch.equal(ours(), theirs())
    benchmark.extra_info.update(bytes=x.nbytes, peer_version=torch.__version__)
    benchmark.pedantic(ours if peer == "tokfrag" else theirs, rounds=5, warmup_rounds=1)
