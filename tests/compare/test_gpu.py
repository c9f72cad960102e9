"""The comparison on a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tokfrag.compare import FrozenFeatures, compare

if not torch.cuda.is_available():
    pytest.skip("torch sees no CUDA device", allow_module_level=True)

PICTURES = np.random.default_rng(0).normal(size=(40, 1, 6, 6)).astype(np.float32)
LABELS = np.arange(40) % 2
PICTURES[LABELS == 1, :, :3] += 1


def test_every_kind_of_problem_trains_on_a_gpu() -> None:
    for task in ("digits", "sensors", "tags", "pairs", "volume"):
        rows = compare(task, budget="3 steps", seeds=1, device="cuda").rows
        assert all(row.failure is None and not row.failures for row in rows), task


def test_frozen_features_on_a_gpu_are_those_of_the_processor() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 4))
    cut = FrozenFeatures(net)
    here = cut.encoder.ask(PICTURES)
    row = compare((PICTURES, LABELS), [cut], budget="12 steps", seeds=1, device="cuda").rows[0]
    assert row.failures == []
    assert next(net.parameters()).device.type == "cuda"
    assert np.allclose(cut.encoder.ask(PICTURES), here, atol=1e-2)
