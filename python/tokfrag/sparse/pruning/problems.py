"""Gathering a layer's problem from the model pruned so far and the dense one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tokfrag.sparse.pruning.calibration import inputs_of
from tokfrag.sparse.pruning.refit import Problem
from tokfrag.sparse.pruning.sites import Site
from tokfrag.sparse.pruning.taylor import Emphasis

# Squares of layer outputs beyond this leave the range of float32 while descending.
_LARGEST = 1e30


class _Sums:
    """Sums of products of inputs, in float64: never the inputs themselves."""

    def __init__(self, columns: int) -> None:
        self.gram = torch.zeros(columns, columns, dtype=torch.float64)
        self.total = torch.zeros(columns, dtype=torch.float64)
        self.count = 0.0

    def add(self, x: Tensor, lines: Tensor | None = None) -> None:
        """Add lines, each as often as its weight says; once without."""
        if lines is None:
            self.gram += x.t() @ x
            self.total += x.sum(0, dtype=torch.float64)
            self.count += len(x)
            return
        self.gram += (x * lines[:, None]).t() @ x
        self.total += lines.double() @ x.double()
        self.count += float(lines.sum(dtype=torch.float64))


class _Pairs:
    """Inputs of the pruned and of the dense model, line by line.

    Lines are the same tokens unless routing between experts differs; then they do not pair, and
    the layer is fitted to its own dense outputs instead.
    """

    def __init__(self, columns: int) -> None:
        self.dense = _Sums(columns)
        self.both = torch.zeros(columns, columns, dtype=torch.float64)  # Xd' Xp
        self.equal_counts = True

    def add(self, reference: Tensor | None, x: Tensor | None, lines: Tensor | None) -> None:
        if reference is None or x is None or reference.shape != x.shape:
            self.equal_counts = self.equal_counts and reference is x
            return
        weighed = reference if lines is None else reference * lines[:, None]
        self.both += weighed.t() @ x
        self.dense.add(reference, lines)

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
    emphasis: Emphasis | None = None,
) -> tuple[Problem, str]:
    """The problem of one site, and what it has otherwise than asked, in words.

    With ``emphasis``, lines count by their weights, and the problem's rows (weights, targets) are
    scaled by the roots of theirs.
    """
    columns = sum(site.widths)
    sums, pairs = _Sums(columns), _Pairs(columns)
    remark = ""
    # A module that runs as often for every batch is not routed to, so a pass may end early.
    steady = len(set(calls)) == 1
    for number, (batch, count) in enumerate(zip(batches, calls, strict=True)):
        x = inputs_of(pruned, site, batch, count if steady else None)
        lines = None if emphasis is None else emphasis.lines[number]
        if lines is not None and len(lines) != (0 if x is None else len(x)):
            again = layer_problem(
                model, pruned, site, batches, calls, dense_target=dense_target, with_bias=with_bias
            )
            return again[0], "; ".join(filter(None, (again[1], "all tokens count alike")))
        if x is not None:
            sums.add(x, lines)
        if dense_target:
            pairs.add(inputs_of(model, site, batch, count) if count else None, x, lines)
    if not sums.count:
        raise ValueError(
            f"{site.name}: no token reaches this layer once the layers before it are pruned (name "
            "it in skip)"
        )
    if dense_target and not pairs.pair(sums):
        dense_target, remark = False, "target local: tokens differ"
    gram = sums.gram
    if dense_target:
        both, dense, dense_total = pairs.both, pairs.dense.gram, pairs.dense.total
    else:
        both, dense, dense_total = gram.clone(), gram.clone(), sums.total
    weight = site.weight(model)
    if emphasis is not None:
        weight *= emphasis.roots[:, None]
    problem = _problem_of(site, weight, sums, both, dense, dense_total, with_bias)
    return problem, remark


def _problem_of(
    site: Site,
    weight: Tensor,
    sums: _Sums,
    both: Tensor,
    dense: Tensor,
    dense_total: Tensor,
    with_bias: bool,
) -> Problem:
    gram, total, count = sums.gram, sums.total, sums.count
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
