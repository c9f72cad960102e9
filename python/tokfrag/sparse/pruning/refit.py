"""The layer problem: weights under a mask that reproduce a layer's outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tokfrag.sparse._descent import sweep
from tokfrag.sparse.products.products import threads
from tokfrag.sparse.pruning import masks
from tokfrag.sparse.pruning.structures import Grouped, Structure

# Pulls weights that the data do not determine to their dense values; share of the mean diagonal.
_DAMPING = 1e-4
_PASSES = 2
_LEVELS = 8
_SWAP_ROUNDS = 12


def _matmul(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """NumPy's product by torch, whose threads are those the user has set."""
    product: NDArray[Any] = (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()
    return product


@dataclass(frozen=True)
class Problem:
    """Minimise ``|Xp W' - T|^2`` over masked W: ``G = Xp'Xp``, ``C = T'Xp``, ``T = Xd W0'``.

    Where the layer has a bias, Xp and T are taken about their means; :meth:`shift` gives the bias
    that the means ask for.
    """

    weight: Tensor  # W0 (rows, columns)
    gram: Tensor
    cross: Tensor
    energy: float  # |T|^2
    scale: float = 0.0  # |T|^2 with its mean; 0: as energy
    mean_in: Tensor | None = None
    mean_out: Tensor | None = None

    def error(self, weight: Tensor) -> float:
        """The squared error of the outputs, relative to the outputs."""
        fit = (weight @ self.gram - 2 * self.cross) * weight
        total = float(fit.sum(dtype=torch.float64)) + self.energy
        return max(0.0, total) / max(self.scale, self.energy, 1e-300)

    def shift(self, weight: Tensor) -> Tensor | None:
        """The change of the bias: the mean of ``T - Xp W'``."""
        if self.mean_in is None or self.mean_out is None:
            return None
        return self.mean_out - weight @ self.mean_in

    def damped(self) -> Problem:
        """Add a small pull to the dense weights, so that singular data have one solution."""
        mean = float(self.gram.diagonal().mean())
        extra = _DAMPING * mean if mean > 0 else 1.0
        gram = self.gram + extra * torch.eye(len(self.gram))
        return replace(self, gram=gram, cross=self.cross + extra * self.weight)


def descend(problem: Problem, start: Tensor, mask: Tensor, sweeps: int, tol: float = 0.0) -> Tensor:
    """Coordinate descent on a fixed mask; stops early when a sweep gains less than ``tol``."""
    weight = torch.where(mask, start, 0).contiguous()
    gram, cross = problem.gram.numpy(), problem.cross.numpy()
    kept = mask.contiguous().numpy()
    before = None
    for _ in range(sweeps):
        gained = sweep(
            weight.numpy(),
            gram,
            cross,
            mask=kept,
            passes=_PASSES,
            threads=threads(),
            matmul=_matmul,
        ).sum(dtype=np.float64)
        before = gained if before is None else before
        if gained <= tol * before:
            break
    return weight


def gradual(
    problem: Problem, sparsity: float, structure: Structure | None
) -> tuple[Tensor, Tensor]:
    """Mask and weights by dropping in steps, descending between, then swapping.

    A weight's score is what the error would grow by without it, others held, and an absent one's
    what it would shrink by: ``(w_j G_jj + r_j)^2 / G_jj``, with r the residual ``C - W G``.
    """
    diagonal = problem.gram.diagonal().clamp(min=1e-30)
    weight = problem.weight.clone()
    mask = torch.ones_like(weight, dtype=torch.bool)
    levels = (
        [1.0] if isinstance(structure, Grouped) else [(i + 1) / _LEVELS for i in range(_LEVELS)]
    )
    for level in levels:
        # The kept share shrinks geometrically: later drops cost more, so they are smaller.
        now = 1 - (1 - sparsity) ** level
        mask = masks.select(torch.where(mask, weight.square() * diagonal, 0), now, structure)
        weight = descend(problem, weight, mask, 2)
    best = problem.error(weight)
    share = 0.1
    for _ in range(_SWAP_ROUNDS):
        residual = problem.cross - weight @ problem.gram
        scores = (weight * diagonal + residual).square() / diagonal
        # Entrants must beat those they replace clearly: their gains are not independent.
        candidate = masks.select(torch.where(mask, scores, scores * share), sparsity, structure)
        if torch.equal(candidate, mask):
            break
        trial = descend(problem, weight, candidate, 3)
        error = problem.error(trial)
        if error < best:
            weight, mask, best = trial, candidate, error
        else:
            share /= 3
    return mask, weight


def solve(
    problem: Problem,
    method: str,
    sparsity: float,
    structure: Structure | None,
    mask: Tensor | None,
    refit: bool,
) -> tuple[Tensor, Tensor, float]:
    """Mask, weights, and the error before the final descent."""
    damped = problem.damped()
    weight = problem.weight
    if mask is not None:
        start = torch.where(mask, weight, 0)
    elif method == "magnitude":
        mask = masks.select(weight.abs(), sparsity, structure)
        start = torch.where(mask, weight, 0)
    elif method == "wanda":
        scores = weight.abs() * problem.gram.diagonal().clamp(min=0).sqrt()
        mask = masks.select(scores, sparsity, structure, by_row=structure is None)
        start = torch.where(mask, weight, 0)
    elif method == "sparsegpt":
        mask, start = masks.sparsegpt(weight, problem.gram, sparsity, structure)
    elif method == "admm":
        mask, start = masks.admm(weight, damped.gram, damped.cross, sparsity, structure)
    else:
        mask, start = gradual(damped, sparsity, structure)
    before = problem.error(start)
    final = descend(damped, start, mask, 20, tol=1e-3) if refit else start
    return mask, final, before
