"""The elastic net on a Gram matrix: sweeps over many responses until their duality gaps close."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.sparse._descent import sweep

Array = NDArray[Any]

# A restricted problem pays when this share of coordinates is active or less.
_RESTRICT = 0.7
_INNER_SWEEPS = 20
_PASSES = 3


@dataclass(frozen=True)
class Settings:
    """The objective and the stopping rule; parameters as in :class:`GramLasso`."""

    alpha: float
    l1_ratio: float
    positive: bool
    max_iter: int
    tol: float
    threads: int


@dataclass(frozen=True)
class Solution:
    """Weights ``(responses, p)``, the gap of each response, and the sweeps over all coordinates."""

    weights: Array
    gaps: Array
    sweeps: int


def solve(
    gram: Array,
    cross: Array,
    squares: Array | None,
    settings: Settings,
    start: Array | None = None,
) -> Solution:
    """Minimise ``1/2 w G w' - c w' + alpha (ratio |w|_1 + (1 - ratio) / 2 |w|^2)`` row by row.

    The squared term is one more sample a coordinate: it goes into the diagonal of ``G``.
    """
    alpha = settings.alpha * settings.l1_ratio
    ridge = settings.alpha * (1 - settings.l1_ratio)
    if ridge:
        gram = gram + ridge * np.eye(len(gram), dtype=gram.dtype)
    m, p = cross.shape
    found = np.zeros((m, p), gram.dtype) if start is None else start.astype(gram.dtype)
    all_gaps = np.zeros(m, gram.dtype)
    sweeps = 0
    options: dict[str, Any] = {
        "alpha": alpha,
        "passes": _PASSES,
        "threads": settings.threads,
        "positive": settings.positive,
    }
    rows = np.arange(m)  # the responses that are not finished
    while len(rows):
        weights = found[rows]
        gaps, scale = _duality_gaps(
            weights,
            gram,
            cross[rows],
            alpha,
            None if squares is None else squares[rows],
            positive=settings.positive,
        )
        all_gaps[rows] = gaps
        open_rows = gaps > settings.tol * scale
        rows, weights = rows[open_rows], weights[open_rows]
        if not len(rows):
            break
        if sweeps >= settings.max_iter:
            warnings.warn(
                f"GramLasso: {len(rows)} of {m} responses did not reach tol={settings.tol} in "
                f"{settings.max_iter} sweeps",
                RuntimeWarning,
                stacklevel=4,
            )
            break
        weights = np.ascontiguousarray(weights)
        targets = np.ascontiguousarray(cross[rows])
        first = sweep(weights, gram, targets, **options).max()
        sweeps += 1
        active = np.flatnonzero(weights.any(0))
        if 0 < len(active) <= _RESTRICT * p:
            inner = np.ascontiguousarray(weights[:, active])
            inner_gram = np.ascontiguousarray(gram[np.ix_(active, active)])
            inner_cross = np.ascontiguousarray(targets[:, active])
            for _ in range(_INNER_SWEEPS):
                if sweep(inner, inner_gram, inner_cross, **options).max() <= 1e-3 * first:
                    break
            weights[:, active] = inner
        found[rows] = weights
    return Solution(found, all_gaps, sweeps)


def _duality_gaps(
    weights: Array,
    gram: Array,
    cross: Array,
    alpha: float,
    squares: Array | None,
    *,
    positive: bool,
) -> tuple[Array, Array]:
    """Gaps of each row and what they are relative to (``y'y / n``)."""
    residual = cross - weights @ gram
    fit = np.einsum("ij,ij->i", cross, weights)
    left = np.einsum("ij,ij->i", residual, weights)
    tiny = np.finfo(gram.dtype).tiny
    diagonal = np.maximum(np.diag(gram), tiny)
    if squares is None:
        # At least the part explained now, or by the best single coordinate.
        squares = np.maximum(fit + left, (cross**2 / diagonal).max(1, initial=0.0))
    slack = squares - fit
    if alpha == 0:
        # No L1 term: the dual is not scaled; the gradient itself must vanish, or, where weights
        # are held at zero, point out of the allowed.
        free = np.where((weights <= 0) & positive, np.maximum(residual, 0), residual)
        return (free**2 / diagonal).sum(1), squares
    largest = (residual if positive else np.abs(residual)).max(1, initial=0.0)
    dual = np.minimum(1.0, alpha / np.maximum(largest, tiny))
    size = np.maximum(slack - left, 0)
    gap = 0.5 * (1 + dual**2) * size + alpha * np.abs(weights).sum(1) - dual * slack
    return np.maximum(gap, 0), squares
