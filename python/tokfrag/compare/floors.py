"""The simplest learners: counting tokens and their pairs, ridge regression on pieces."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Pieces, PieceSpec

# More features than these are folded together; a floor need not be the best linear model.
_FEATURES = 1024
# How many pairs a token must have been seen in before they weigh as much as its frequency.
_PRIOR = 8.0


def count_bits(train: NDArray[Any], test: NDArray[Any], vocabulary: int) -> tuple[float, float]:
    """Bits that counting takes to tell ``test``: tokens alone, and each token after the one before.

    Tokens: add-one frequencies of ``train``. Pairs: those frequencies as a Dirichlet prior under
    the counts of pairs (MacKay and Peto, 1995); the first token of a row is told alone. Rows are
    filled up with the id ``vocabulary``, which is nobody's token.

    Parameters
    ----------
    train, test : (samples, n) integer arrays
        Rows of ids.
    vocabulary
        How many ids there are.

    Returns
    -------
    tuple of float
        Bits by tokens, bits by pairs.

    Examples
    --------
    >>> import numpy as np
    >>> alone, paired = count_bits(np.array([[0, 1] * 50]), np.array([[0, 1] * 4]), 2)
    >>> alone, paired < alone
    (8.0, True)
    """
    seen = train[train < vocabulary].astype(np.int64)
    share = (np.bincount(seen, minlength=vocabulary) + 1) / (len(seen) + vocabulary)
    wanted = test[test < vocabulary].astype(np.int64)
    alone = float(-np.log2(share[wanted]).sum())

    def pairs(rows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        before, after = rows[:, :-1].astype(np.int64), rows[:, 1:].astype(np.int64)
        held = (before < vocabulary) & (after < vocabulary)
        return before[held], after[held]

    first = test[:, 0].astype(np.int64)
    bits = float(-np.log2(share[first[first < vocabulary]]).sum())
    before, after = pairs(train)
    starts = np.bincount(before, minlength=vocabulary)
    keys, counts = np.unique(before * vocabulary + after, return_counts=True)
    before, after = pairs(test)
    if len(before):
        wanted_keys = before * vocabulary + after
        place = np.minimum(np.searchsorted(keys, wanted_keys), max(0, len(keys) - 1))
        found = (
            np.where(keys[place] == wanted_keys, counts[place], 0)
            if len(keys)
            else np.zeros(len(before))
        )
        chance = (found + _PRIOR * share[after]) / (starts[before] + _PRIOR)
        bits += float(-np.log2(chance).sum())
    return alone, bits


def ridge(
    train: Pieces, wanted: NDArray[np.float64], test: Pieces, spec: PieceSpec
) -> NDArray[np.float64]:
    """What linear regression on the pieces answers on the test part.

    Fragments are their values side by side, so are the levels of quantised values; tokens of a text
    are counted, whatever their place. More than 1024 features are folded by a fixed random
    projection.

    Parameters
    ----------
    train, test
        The pieces to learn from and to answer on.
    wanted : (samples, outputs) array
        What the training pieces should give.
    spec
        The pieces' shape.

    Returns
    -------
    (samples, outputs) float64 array
    """
    x, z = _features(train, spec), _features(test, spec)
    mean, scale = x.mean(0), x.std(0)
    keep = scale > 0
    x, z = (x[:, keep] - mean[keep]) / scale[keep], (z[:, keep] - mean[keep]) / scale[keep]
    middle = wanted.mean(0)
    square = x.T @ x
    # One part in a thousand of the mean variance: enough to be solvable, too little to matter.
    square[np.diag_indices_from(square)] += 1e-3 * len(x) + 1e-12
    weight = np.linalg.solve(square, x.T @ (wanted - middle))
    answer: NDArray[np.float64] = z @ weight + middle
    return answer


def _features(pieces: Pieces, spec: PieceSpec) -> NDArray[np.float64]:
    rows = pieces.values.reshape(len(pieces.values), -1)
    # Levels in their places are numbers; tokens of a text are only names.
    if spec.vocabulary is not None and spec.padded:
        size = min(_FEATURES, spec.vocabulary)
        counts = np.zeros((len(rows), size))
        row, column = np.nonzero(rows < spec.vocabulary)
        np.add.at(counts, (row, rows[row, column] % size), 1)
        return np.sqrt(counts)
    if rows.shape[1] <= _FEATURES:
        return rows.astype(np.float64)
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((rows.shape[1], _FEATURES), dtype=np.float32)
    folded = rows.astype(np.float32) @ mix / math.sqrt(_FEATURES)
    return folded.astype(np.float64)
