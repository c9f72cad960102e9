"""Scores of parts of the data, and the score that they make together."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Samples

#: A score and a weight for each part of the data.
Items: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]


def weighted_mean(items: Items) -> float:
    """The score that parts of the data make together."""
    values, weights = items
    return float(values @ weights / weights.sum())


def by_group(values: NDArray[np.float64], weights: NDArray[np.float64], samples: Samples) -> Items:
    """Parts of the data from single samples: those of one group are one part."""
    if samples.groups is None:
        return values, weights
    _, which = np.unique(samples.groups, return_inverse=True)
    total = np.bincount(which, weights).astype(np.float64)
    return np.bincount(which, values * weights) / total, total
