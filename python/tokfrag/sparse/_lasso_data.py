"""Arrays as the Lasso takes them, checked, and the moments it is fitted to."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Moments:
    """Weighted means of products: all that a fit sees of its data.

    ``gram (p, p)``, ``cross (responses, p)`` and ``squares (responses,)`` are about the means
    ``mean_in (p,)`` and ``mean_out (responses,)``; ``weight`` is the sum of the samples' weights.
    """

    gram: Array
    cross: Array
    squares: Array
    mean_in: Array
    mean_out: Array
    weight: float


def moments(inputs: Any, targets: Array, weights: Array, *, centre: bool) -> Moments:
    """The moments of ``inputs (n, p)``, which may be a SciPy matrix, and ``targets (n, m)``."""
    total = float(weights.sum(dtype=np.float64))
    dtype = targets.dtype
    zeros = np.zeros(inputs.shape[1], dtype), np.zeros(targets.shape[1], dtype)
    if is_scipy(inputs):  # a centred copy would be dense
        mean_in = np.asarray(inputs.T @ weights) / total if centre else zeros[0]
        mean_out = weights @ targets / total if centre else zeros[1]
        targets = targets - mean_out
        weighted = targets * weights[:, None]
        gram = np.asarray((inputs.T @ inputs.multiply(weights[:, None]).tocsr()).toarray())
        gram = gram / total - np.outer(mean_in, mean_in)
        cross = np.asarray(inputs.T @ weighted).T / total
        cross -= np.outer(weighted.sum(0) / total, mean_in)
    else:
        mean_in, mean_out = zeros
        if centre:
            mean_in = np.average(inputs, 0, weights=weights.astype(np.float64))
            mean_out = np.average(targets, 0, weights=weights.astype(np.float64))
            inputs = (inputs - mean_in).astype(dtype)
            targets = (targets - mean_out).astype(dtype)
        weighted = targets * weights[:, None]
        even = bool((weights == 1).all())
        scaled = inputs if even else inputs * weights[:, None]
        gram = _transposed_product(inputs, scaled) / dtype.type(total)
        cross = _transposed_product(weighted, inputs) / dtype.type(total)
    squares = np.einsum("ij,ij->j", targets, weighted) / dtype.type(total)
    gram, cross = np.ascontiguousarray(gram, dtype), np.ascontiguousarray(cross, dtype)
    return Moments(gram, cross, squares.astype(dtype), mean_in, mean_out, total)


def is_scipy(values: object) -> bool:
    """Whether values are a sparse matrix or array of SciPy."""
    return hasattr(values, "tocsr") and hasattr(values, "nnz")


def real_array(values: Any, name: str) -> Array:
    """An array of finite float32 or float64 numbers."""
    array = np.asarray(values)
    if array.dtype.kind == "c":
        raise ValueError(f"{name}: Complex data not supported; got {array.dtype}, takes reals")
    if array.dtype.kind == "O":
        array = array.astype(np.float64)  # numbers as objects; anything else raises
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: got dtype {array.dtype}, takes real numbers")
    if array.dtype != np.float32:
        array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: got NaN or infinite values, takes finite ones")
    return array


def matrix(values: Any, name: str) -> Any:
    """As :func:`real_array`, of two axes."""
    array = real_array(values, name)
    if array.ndim != 2:
        raise ValueError(
            f"{name}: got shape {array.shape}, takes (rows, features). Reshape your data: "
            "reshape(-1, 1) for one feature, reshape(1, -1) for one sample"
        )
    return _check_features(array, name)


def sample_matrix(values: Any, name: str) -> Any:
    """As :func:`matrix`; SciPy's sparse matrices stay sparse, as CSR."""
    if not is_scipy(values):
        return matrix(values, name)
    if values.ndim != 2:
        raise ValueError(f"{name}: got shape {values.shape}, takes (rows, features)")
    rows = values.tocsr()
    return _check_features(rows.astype(real_array(rows.data, name).dtype), name)


def _check_features(array: Any, name: str) -> Any:
    if not array.shape[1]:
        raise ValueError(
            f"{name}: got 0 feature(s) (shape={array.shape}) while a minimum of 1 is required."
        )
    return array


def target_matrix(y: ArrayLike | None, rows: int, shape: tuple[int, ...]) -> tuple[Array, bool]:
    """Targets ``(n, responses)``, and whether there was one response only."""
    if y is None:
        raise ValueError("y: requires y to be passed, but the target y is None")
    targets = real_array(y, "y")
    single = targets.ndim == 1
    if single:
        targets = targets[:, None]
    if targets.ndim != 2 or len(targets) != rows or not rows:
        raise ValueError(
            f"y: got shape {np.shape(y)} for x of {shape}, takes (n,) or (n, responses)"
        )
    return targets, single


def sample_weights(weights: ArrayLike | None, rows: int) -> Array:
    """The weight of each sample, one by default; they are taken relative to their mean."""
    if weights is None:
        return np.ones(rows)
    array = real_array(weights, "sample_weight").astype(np.float64)
    if array.ndim == 0:
        array = np.full(rows, float(array))
    if array.shape != (rows,) or (array < 0).any() or not array.sum() > 0:
        raise ValueError(
            f"sample_weight: got shape {array.shape}, takes ({rows},), numbers >= 0, not all zero"
        )
    return array


def check_real(name: str, value: object, most: float = float("inf")) -> None:
    """Refuse what is no finite number of zero or more, and at most ``most``."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not 0 <= float(value) < float("inf") or float(value) > most:  # type: ignore[arg-type]
        limit = "" if most == float("inf") else f", at most {most:g}"
        raise ValueError(f"{name}: got {value!r}, takes a finite number >= 0{limit}")


def check_count(name: str, value: object) -> None:
    """Refuse what is no positive int."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < 1:
        raise ValueError(f"{name}: got {value!r}, takes a positive int")


_PART = 1 << 29  # multiplications of a matrix product between two looks at Ctrl-C


def _transposed_product(a: Array, b: Array) -> Array:
    """``a.T @ b`` in parts of some hundredths of a second: within one, BLAS hears no Ctrl-C."""
    product = np.zeros((a.shape[1], b.shape[1]), np.result_type(a, b))
    columns = 256
    rows = max(256, _PART // max(1, a.shape[1] * columns))
    for left in range(0, b.shape[1], columns):
        strip = slice(left, left + columns)
        first = left if a is b else 0  # the part above the diagonal is a mirror image
        for top in range(0, len(a), rows):
            part = slice(top, top + rows)
            product[first:, strip] += a[part, first:].T @ b[part, strip]
    return np.tril(product) + np.tril(product, -1).T if a is b else product
