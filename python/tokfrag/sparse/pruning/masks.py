"""Which weights to keep: scores, structures, SparseGPT and ADMM."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tokfrag.sparse.pruning.structures import LARGEST, Blocks, Grouped, Structure, parse

# ADMM's penalty grows slowly where an iteration is cheap: a fifth less error than three times as
# fast, at three to four times the iterations.
_CHEAP_COLUMNS = 1024


def select(
    scores: Tensor, sparsity: float, structure: Structure | str | None, *, by_row: bool = False
) -> Tensor:
    """The mask that keeps the highest ``scores (rows, columns)``.

    Exactly ``round(sparsity * count)`` are dropped, of the matrix or of each row; with blocks, of
    the blocks. What is kept of every m columns does not depend on the sparsity.
    """
    columns = scores.shape[1]
    if isinstance(structure, str):
        structure = parse(structure)
    if isinstance(structure, Grouped):
        return structure.select(scores)
    if isinstance(structure, Blocks):
        mask = select(structure.sums(scores), sparsity, None, by_row=by_row)
        return structure.spread(mask, scores.shape)
    if by_row:
        kept = columns - round(sparsity * columns)
        places = scores.topk(kept, -1, sorted=False).indices
        return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, places, True)
    dropped = round(sparsity * scores.numel())
    if dropped in (0, scores.numel()):
        return torch.full_like(scores, dropped == 0, dtype=torch.bool)
    flat = scores.reshape(-1)
    least = float(np.partition(flat.numpy(), dropped)[dropped])
    mask = flat > least
    ties = (flat == least).nonzero()[:, 0]
    mask[ties[: flat.numel() - dropped - int(mask.sum())]] = True
    return mask.view_as(scores)


def sparsegpt(
    weight: Tensor, gram: Tensor, sparsity: float, structure: Structure | None
) -> tuple[Tensor, Tensor]:
    """Mask and updated weights by SparseGPT (Frantar, Alistarh, arXiv 2301.00774).

    Columns are pruned left to right in blocks of up to 128, and each dropped weight's error is
    spread over the columns to its right by the inverse Gram matrix. Where its Cholesky factor does
    not exist, the damping (1 % of the mean diagonal) is raised until it does.
    """
    weight = weight.clone()
    columns = weight.shape[1]
    diagonal = gram.diagonal()
    mean = float(diagonal.mean().clamp(min=1e-12))
    damping = 0.01
    while True:
        damped = gram + torch.eye(columns, device=gram.device) * (damping * mean)
        factor, failed = torch.linalg.cholesky_ex(damped)
        if not failed:
            inverse, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(factor), upper=True)
        if not failed:
            break
        damping *= 10
    mask = torch.ones_like(weight, dtype=torch.bool)
    grouped = structure if isinstance(structure, Grouped) else None
    unit = _unit(structure)
    width = LARGEST // unit * unit
    for first in range(0, columns, width):
        last = min(first + width, columns)
        block = weight[:, first:last].clone()
        local = inverse[first:last, first:last]
        errors = torch.zeros_like(block)
        if grouped:
            kept = torch.ones_like(block, dtype=torch.bool)
        else:
            kept = select((block / local.diagonal()) ** 2, sparsity, structure)
        for column in range(last - first):
            if grouped and column % grouped.m == 0:
                group = slice(column, column + grouped.m)
                scores = (block[:, group] / local.diagonal()[group]) ** 2
                kept[:, group] = grouped.select(scores)
            old = block[:, column].clone()
            new = torch.where(kept[:, column], old, 0)
            error = (old - new) / local[column, column]
            block[:, column:] -= error[:, None] * local[column, column:]
            block[:, column] = new
            errors[:, column] = error
        weight[:, first:last] = block
        weight[:, last:] -= errors @ inverse[first:last, last:]
        mask[:, first:last] = kept
    return mask, weight * mask


def _unit(structure: Structure | None) -> int:
    """How many columns belong together."""
    if structure is None:
        return 1
    return structure.m if isinstance(structure, Grouped) else structure.columns


def admm(
    weight: Tensor, gram: Tensor, cross: Tensor, sparsity: float, structure: Structure | None
) -> tuple[Tensor, Tensor]:
    """Mask and weights by ADMM on ``1/2 tr(W G W') - tr(C W')`` with W = D, D sparse.

    Follows ALPS (Meng et al., arXiv 2406.07831): inputs scaled to a unit diagonal, one
    eigendecomposition, a penalty that grows until the support stands still.
    """
    scale = gram.diagonal().clamp(min=1e-12).sqrt()
    scaled = gram / scale / scale[:, None]
    values, vectors = torch.linalg.eigh(scaled)
    values = values.clamp(min=0)
    target = cross / scale @ vectors
    sparse = weight * scale
    mask = select(sparse.square(), sparsity, structure)
    sparse = torch.where(mask, sparse, 0)
    dual = torch.zeros_like(sparse)
    kept = int(mask.sum())
    penalty = 0.03
    pace = 1 if len(gram) <= _CHEAP_COLUMNS else 4
    for iteration in range(3000 // pace):
        full = ((target + (penalty * sparse - dual) @ vectors) / (values + penalty)) @ vectors.t()
        moved = full + dual / penalty
        fresh = select(moved.square(), sparsity, structure)
        sparse = torch.where(fresh, moved, 0)
        dual += penalty * (full - sparse)
        if iteration % 3 == 2:
            changed = int((fresh ^ mask).sum()) / 2
            mask = fresh
            if changed >= 0.1 * kept:
                penalty *= 1.06**pace
            elif changed >= 0.005 * kept:
                penalty *= 1.04**pace
            elif changed >= 1:
                penalty *= 1.02**pace
            else:
                break
    return fresh, torch.where(fresh, sparse, 0) / scale
