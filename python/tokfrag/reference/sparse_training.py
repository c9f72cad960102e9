"""How masks move while a model trains, as plain loops over one matrix."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def left(decay: str, done: float) -> float:
    """The share that is still to go after a share ``done`` of the steps.

    >>> [round(left(decay, 0.25), 3) for decay in ("cosine", "cubic", "linear")]
    [0.854, 0.422, 0.75]
    """
    if decay == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    return (1 - done) ** {"cubic": 3, "linear": 1}[decay]


def exchange(weight: Array, mask: Mask, scores: Array, fraction: float) -> Mask:
    """SET and RigL: the smallest kept weights go, the absent ones of the highest scores come.

    >>> weight, scores = np.array([[1.0, 3.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 2.0, 5.0]])
    >>> exchange(weight, weight != 0, scores, 0.5).tolist()
    [[False, True, False, True]]
    """
    kept = [place for place in np.ndindex(mask.shape) if mask[place]]
    absent = [place for place in np.ndindex(mask.shape) if not mask[place]]
    count = min(int(fraction * len(kept)), len(absent))
    fresh: Mask = mask.copy()
    for place in sorted(kept, key=lambda p: abs(weight[p]))[:count]:
        fresh[place] = False
    for place in sorted(absent, key=lambda p: -scores[p])[:count]:
        fresh[place] = True
    return fresh


def thin(weight: Array, mask: Mask, sparsity: float) -> Mask:
    """Gradual magnitude: the smallest kept weights go until a share of all is absent.

    >>> weight = np.array([[1.0, 3.0, 2.0, 0.0]])
    >>> thin(weight, weight != 0, 0.5).tolist()
    [[False, True, True, False]]
    """
    kept = [place for place in np.ndindex(mask.shape) if mask[place]]
    count = round(sparsity * mask.size) - (mask.size - len(kept))
    fresh: Mask = mask.copy()
    for place in sorted(kept, key=lambda p: abs(weight[p]))[: max(0, count)]:
        fresh[place] = False
    return fresh
