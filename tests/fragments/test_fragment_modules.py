"""The fragment layers, and the dataset of fragments."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from tokfrag.fragments import FragmentGrid, extract, merge
from tokfrag.fragments.streams.dataset import FragmentDataset

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("flatten", [False, True])
def test_layers_are_the_functions(channels_last, flatten):
    from tokfrag.nn import FragmentExtract, FragmentMerge

    if channels_last and flatten:
        shape = (2, 9, 12, 3)
    else:
        shape = (2, 9, 12, 3) if channels_last else (2, 3, 9, 12)
    x = torch.randn(shape, requires_grad=True)
    grid = FragmentGrid.of(x, (4, 5), (2, 3), channels_last=channels_last, pad_mode="reflect")
    options = {"pad_mode": "reflect", "channels_last": channels_last}
    cut = FragmentExtract((4, 5), (2, 3), flatten=flatten, **options)
    put = FragmentMerge((4, 5), (2, 3), window="gaussian", **options)
    fragments = cut(x)
    want = extract(x, grid, channels_last=channels_last)
    assert torch.equal(fragments, want.flatten(0, 1) if flatten else want)
    merged = put(fragments, (9, 12))
    assert torch.equal(merged, merge(want, grid, window="gaussian", channels_last=channels_last))
    merged.square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert "size=(4, 5)" in repr(torch.nn.Sequential(cut))
    with pytest.raises(ValueError, match="fragments: got 3, takes a multiple"):
        put(want.flatten(0, 1)[:3], (9, 12))


def test_a_dataset_is_the_fragments_of_every_batch_entry():
    x = np.random.default_rng(0).standard_normal((3, 2, 11, 7))
    grid = FragmentGrid((11, 7), (4, 3), (3, 2), pad_mode="circular")
    dataset = FragmentDataset(x, grid)
    want = extract(x, grid).reshape(-1, 2, 4, 3)
    assert len(dataset) == len(want)
    np.testing.assert_array_equal(np.stack([dataset[i] for i in range(len(dataset))]), want)
    np.testing.assert_array_equal(dataset[-1], want[-1])
    np.testing.assert_array_equal(dataset.slice(5, 20), want[5:20])
    doubled = FragmentDataset(torch.from_numpy(x), grid, transform=lambda f: 2 * f)
    assert torch.equal(doubled[7], 2 * torch.from_numpy(want[7]))


def test_a_loader_reads_a_memory_map_in_other_processes(tmp_path):
    x = np.random.default_rng(0).standard_normal((1, 1, 500)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    grid = FragmentGrid((500,), 64, 32)
    dataset = FragmentDataset(mapped, grid)
    assert len(pickle.dumps(dataset)) < 2000
    again = pickle.loads(pickle.dumps(dataset))
    assert isinstance(again.x, np.memmap)
    np.testing.assert_array_equal(again[3], dataset[3])
    view = pickle.loads(pickle.dumps(FragmentDataset(mapped[:, :, ::2], FragmentGrid((250,), 64))))
    np.testing.assert_array_equal(view[0], x[0, :, :128:2])
    loader = torch.utils.data.DataLoader(dataset, batch_size=4, num_workers=1)
    got = torch.cat(list(loader)).numpy()
    np.testing.assert_array_equal(got, extract(x, grid)[0])


def test_bad_input_gets_one_clear_exception():
    grid = FragmentGrid((10,), 4)
    with pytest.raises(TypeError, match="grid: got int"):
        FragmentDataset(np.zeros((1, 1, 10)), 3)
    with pytest.raises(TypeError, match="x: got list"):
        FragmentDataset([1], grid)
    with pytest.raises(ValueError, match="x: got shape"):
        FragmentDataset(np.zeros((1, 10)), grid)
    with pytest.raises(IndexError, match="index: got 3"):
        FragmentDataset(np.zeros((1, 1, 10)), grid)[3]
    with pytest.raises(IndexError, match=r"slice: got \[2, 9\)"):
        FragmentDataset(np.zeros((1, 1, 10)), grid).slice(2, 9)


def test_a_median_is_refused_where_lengths_are_free():
    from tokfrag.nn import FragmentMerge

    class Halves(torch.nn.Module):
        def __init__(self, reduce):
            super().__init__()
            self.put = FragmentMerge(4, 2, reduce=reduce)

        def forward(self, fragments, x):
            return self.put(fragments, x.shape[2:])

    given = (torch.randn(1, 7, 1, 4), torch.zeros(1, 1, 16))
    assert Halves("median")(*given).shape == (1, 1, 16)
    put = Halves("median").put
    with pytest.raises(ValueError, match="reduce: got 'median', takes 'mean', 'sum', 'max' with"):
        put._merge_free(given[0], put.grid((16,)))
