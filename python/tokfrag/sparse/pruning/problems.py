"""Gathering a layer's problem from the model pruned so far and the dense one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tokfrag.sparse.pruning.calibration import inputs_of
from tokfrag.sparse.pruning.refit import Problem
from tokfrag.sparse.pruning.sites import Site

# Squares of layer outputs beyond this leave the range of float32 while descending.
_LARGEST = 1e30


class _Sums:
    """Sums of products of inputs, in float64: never the inputs themselves."""

    def __init__(self, columns: int) -> None:
        self.gram = torch.zeros(columns, columns, dtype=torch.float64)
        self.total = torch.zeros(columns, dtype=torch.float64)
        self.count = 0

    def add(self, x: Tensor) -> None:
        self.gram += x.t() @ x
        self.total += x.sum(0, dtype=torch.float64)
        self.count += len(x)


class _Pairs:
    """Inputs of the pruned and of the dense model, line by line.

    Lines are the same tokens unless routing between experts differs; then they do not pair, and
    the layer is fitted to its own dense outputs instead.
    """

    def __init__(self, columns: int) -> None:
        self.dense = _Sums(columns)
        self.both = torch.zeros(columns, columns, dtype=torch.float64)  # Xd' Xp
        self.equal_counts = True

    def add(self, reference: Tensor | None, x: Tensor | None) -> None:
        if reference is None or x is None or reference.shape != x.shape:
            self.equal_counts = self.equal_counts and reference is x
            return
        self.both += reference.t() @ x
        self.dense.add(reference)

    def pair(self, pruned: _Sums) -> bool:
        """Whether lines are the same tokens: nearer to each other than to the mean line."""
        if not self.equal_counts:
            return False
        if not self.dense.count:
            return True
        own = float(self.dense.gram.diagonal().sum())
        apart = own + float(pruned.gram.diagonal().sum()) - 2 * float(self.both.diagonal().sum())
        mean = float(self.dense.total.square().sum()) / self.dense.count
        return apart <= max(own - mean, 1e-6 * own)


def layer_problem(
    model: nn.Module,
    pruned: nn.Module,
    site: Site,
    batches: Sequence[Any],
    calls: Sequence[int],
    *,
    dense_target: bool,
    with_bias: bool,
) -> tuple[Problem, bool]:
    """The problem of one site, and whether its target is the dense model's."""
    columns = sum(site.widths)
    sums, pairs = _Sums(columns), _Pairs(columns)
    # A module that runs as often for every batch is not routed to, so a pass may end early.
    steady = len(set(calls)) == 1
    for batch, count in zip(batches, calls, strict=True):
        x = inputs_of(pruned, site, batch, count if steady else None)
        if x is not None:
            sums.add(x)
        if dense_target:
            pairs.add(inputs_of(model, site, batch, count) if count else None, x)
    if not sums.count:
        raise ValueError(
            f"{site.name}: no token reaches this layer once the layers before it are pruned (name "
            "it in skip)"
        )
    dense_target = dense_target and pairs.pair(sums)
    gram = sums.gram
    if dense_target:
        both, dense, dense_total = pairs.both, pairs.dense.gram, pairs.dense.total
    else:
        both, dense, dense_total = gram.clone(), gram.clone(), sums.total
    problem = _problem_of(site, model, sums, both, dense, dense_total, with_bias)
    return problem, dense_target


def _problem_of(
    site: Site,
    model: nn.Module,
    sums: _Sums,
    both: Tensor,
    dense: Tensor,
    dense_total: Tensor,
    with_bias: bool,
) -> Problem:
    gram, total, count = sums.gram, sums.total, sums.count
    weight = site.weight(model)
    wide = weight.double()
    scale = float(((wide @ dense) * wide).sum())
    centred = with_bias and site.bias is not None
    if centred:
        gram = gram.addr(total, total, alpha=-1 / count)
        both = both.addr(dense_total, total, alpha=-1 / count)
        dense = dense.addr(dense_total, dense_total, alpha=-1 / count)
    cross = wide @ both
    energy = float(((wide @ dense) * wide).sum())
    largest = max(float(gram.abs().max()), float(cross.abs().max()), scale)
    if not (largest < _LARGEST and torch.isfinite(cross).all()):
        raise ValueError(
            f"{site.name}: got NaN, infinite or overflowing activations, takes finite ones"
        )
    if not centred:
        return Problem(weight, gram.float(), cross.float(), energy)
    means = (total / count).float(), (wide @ dense_total / count).float()
    return Problem(weight, gram.float(), cross.float(), energy, scale, *means)
