"""The stand-ins for TorchIO's sampler and aggregator, against loops over the patches."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tokfrag.compat.torchio import GridAggregator, GridSampler  # noqa: E402


def test_locations_cover_the_volume_and_the_last_patch_moves_back() -> None:
    sampler = GridSampler(torch.zeros(1, 10, 6, 4), (4, 6, 3), (2, 0, 2))
    first = sorted({tuple(place[:3]) for place in sampler.locations.tolist()})
    assert first == [(x, 0, z) for x in (0, 2, 4, 6) for z in (0, 1)]
    assert (sampler.locations[:, 3:] - sampler.locations[:, :3] == [4, 6, 3]).all()
    assert len(sampler) == len(first)


@pytest.mark.parametrize("mode", ["crop", "average", "hann"])
@pytest.mark.parametrize("padding", [None, "reflect", "edge", 1])
def test_what_is_sampled_comes_back(mode: Any, padding: Any) -> None:
    image = torch.randn(2, 11, 9, 7)
    subject = {"ct": SimpleNamespace(data=image), "mask": image[:1] > 0, "name": "a"}
    sampler = GridSampler(subject, (6, 5, 4), (2, 2, 2), padding)
    loader = torch.utils.data.DataLoader(sampler, batch_size=5, shuffle=True)
    aggregator = GridAggregator(sampler, mode)
    for batch in loader:
        assert batch["name"][0] == "a"
        assert torch.equal(batch["mask"]["data"], batch["ct"]["data"][:, :1] > 0)
        aggregator.add_batch(batch["ct"]["data"], batch["location"])
    torch.testing.assert_close(aggregator.get_output_tensor(), image)


@pytest.mark.parametrize("mode", ["crop", "average", "hann"])
def test_predictions_are_put_together_as_by_hand(mode: Any) -> None:
    sampler = GridSampler(torch.zeros(1, 9, 8, 5), (4, 4, 5), (2, 2, 0))
    aggregator = GridAggregator(sampler, mode)
    patches = torch.randn(len(sampler), 2, 4, 4, 5)
    locations = torch.from_numpy(sampler.locations)
    order = torch.randperm(len(sampler))
    aggregator.add_batch(patches[order], locations[order])
    total, held = torch.zeros(2, 9, 8, 5), torch.zeros(9, 8, 5)
    for patch, (x, y, _, x1, y1, _) in zip(patches, sampler.locations.tolist(), strict=True):
        if mode == "crop":
            left, top = x + (x > 0), y + (y > 0)
            right, bottom = x1 - (x1 < 9), y1 - (y1 < 8)
            total[:, left:right, top:bottom] = patch[:, left - x : right - x, top - y : bottom - y]
            held[left:right, top:bottom] = 1
            continue
        window = torch.ones(4, 4, 5)
        if mode == "hann":
            axes = [torch.hann_window(n + 2, periodic=False)[1:-1] for n in (4, 4, 5)]
            window = axes[0][:, None, None] * axes[1][:, None] * axes[2]
        total[:, x:x1, y:y1] += patch * window
        held[x:x1, y:y1] += window
    torch.testing.assert_close(aggregator.get_output_tensor(), total / held)


def test_refusals_name_what_is_wrong() -> None:
    sampler = GridSampler(np.zeros((1, 8, 8, 8), np.float32), 4, 2)
    aggregator = GridAggregator(sampler, "average")
    patches, places = torch.zeros(2, 1, 4, 4, 4), torch.from_numpy(sampler.locations[[3, 5]])
    with pytest.raises(ValueError, match="none of 27 patches was added"):
        aggregator.get_output_tensor()
    aggregator.add_batch(patches, places)
    with pytest.raises(ValueError, match=r"25 of 27 windows were never added: 0, 1, 2, 4"):
        aggregator.get_output_tensor()
    with pytest.raises(ValueError, match="window 3 was added before"):
        aggregator.add_batch(patches, places)
    with pytest.raises(ValueError, match="takes locations of the sampler"):
        aggregator.add_batch(patches, places + 1)
    with pytest.raises(ValueError, match="batch_tensor: got shape"):
        aggregator.add_batch(patches[..., :3], places)
    crops = GridAggregator(sampler)
    crops.add_batch(patches.long(), places)
    with pytest.raises(ValueError, match="window 5 was added before"):
        crops.add_batch(patches[:1].long(), places[1:])
    with pytest.raises(ValueError, match="25 of 27 windows were never added"):
        crops.get_output_tensor()
    with pytest.raises(TypeError, match="may be labels"):
        GridAggregator(sampler, "average").add_batch(patches.long(), places)
    with pytest.raises(ValueError, match="overlap_mode: got 'mean'"):
        GridAggregator(sampler, "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="takes even numbers below the patch size"):
        GridSampler(torch.zeros(1, 8, 8, 8), 4, 1)
    with pytest.raises(ValueError, match="got no image"):
        GridSampler({"name": "a"}, 4)
    with pytest.raises(TypeError, match="subject: got list"):
        GridSampler([1], 4)
    with pytest.raises(ValueError, match="padding_mode: got 'mirror'"):
        GridSampler(torch.zeros(1, 8, 8, 8), 4, 2, "mirror")
