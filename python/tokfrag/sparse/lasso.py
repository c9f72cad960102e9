"""The Lasso for many responses that share their inputs."""

from __future__ import annotations

import numbers
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokfrag.sparse._descent import sweep

Array = NDArray[Any]

# A restricted problem pays when this share of coordinates is active or less.
_RESTRICT = 0.7
_INNER_SWEEPS = 20
_PASSES = 3
_PART = 1 << 29  # multiplications of a matrix product between two looks at Ctrl-C


class GramLasso:
    r"""The Lasso by blocked coordinate descent, all responses at once.

    For each response ``y`` it minimises ``1/(2 n) ||y - X w - b||^2 + alpha ||w||_1``, the
    objective of ``sklearn.linear_model.Lasso``. Responses share the Gram matrix ``X'X``, so a sweep
    over a block of coordinates is one matrix product for all of them. Sweeps run over the active
    coordinates until they settle, then over all; a response is finished when its duality gap is.

    Parameters
    ----------
    alpha
        Weight of the L1 term, >= 0, in the units of ``y`` times those of ``X``.
    fit_intercept
        Whether ``b`` is fitted (by centring) or zero.
    max_iter
        Most sweeps over all coordinates; a ``RuntimeWarning`` says when they did not suffice.
    tol
        A response is finished when its duality gap is at most ``tol ||y||^2 / n``.
    threads
        Threads of the descent (None: all); the matrix products follow the BLAS library's own count.

    Attributes
    ----------
    coef_ : ``(responses, features)``, or ``(features,)`` for one response
    intercept_ : ``(responses,)`` or a float
    dual_gap_ : the duality gap of each response, in the objective's units
    n_iter_ : sweeps over all coordinates
    n_features_in_ : features

    Raises
    ------
    ValueError, TypeError
        For parameters, shapes or dtypes out of range, and for NaN or infinite data.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal((100, 5))
    >>> y = x @ [[3.0, 0.0], [0.0, 0.0], [0.0, -2.0], [0.0, 0.0], [0.0, 0.0]]
    >>> model = GramLasso(alpha=0.1).fit(x, y)
    >>> (model.coef_ != 0).astype(int)
    array([[1, 0, 0, 0, 0],
           [0, 0, 1, 0, 0]])

    Notes
    -----
    Friedman, Hastie, Tibshirani, "Regularization paths for generalized linear models via coordinate
    descent", J. Stat. Softw. 33 (2010). float32 data are solved in float32, all other in float64.
    """

    _estimator_type = "regressor"

    coef_: Any
    intercept_: Any
    dual_gap_: Any
    n_iter_: int
    n_features_in_: int

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-4,
        threads: int | None = None,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.threads = threads

    def fit(self, x: ArrayLike, y: ArrayLike) -> GramLasso:
        """Fits ``x (n, features)`` to ``y (n,)`` or ``(n, responses)``."""
        self._check_parameters()
        inputs, targets = _matrix(x, "x"), _array(y, "y")
        single = targets.ndim == 1
        if single:
            targets = targets[:, None]
        if targets.ndim != 2 or len(targets) != len(inputs) or not len(inputs):
            raise ValueError(
                f"y: got shape {np.shape(y)} for x of {inputs.shape}, takes (n,) or (n, responses)"
            )
        dtype = np.result_type(inputs, targets)
        inputs, targets = inputs.astype(dtype), targets.astype(dtype)
        shift = np.zeros(inputs.shape[1], dtype), np.zeros(targets.shape[1], dtype)
        if self.fit_intercept:
            shift = inputs.mean(0, dtype=np.float64), targets.mean(0, dtype=np.float64)
            inputs = (inputs - shift[0]).astype(dtype)
            targets = (targets - shift[1]).astype(dtype)
        n = len(inputs)
        gram = _transposed_product(inputs, inputs) / dtype.type(n)
        cross = _transposed_product(targets, inputs) / dtype.type(n)
        squares = np.einsum("ij,ij->j", targets, targets) / dtype.type(n)
        self._solve(gram, cross, squares)
        self.intercept_ = (shift[1] - self.coef_ @ shift[0]).astype(dtype)
        if single:
            self.coef_, self.intercept_ = self.coef_[0], self.intercept_[0]
            self.dual_gap_ = self.dual_gap_[0]
        return self

    def fit_gram(
        self,
        gram: ArrayLike,
        cross: ArrayLike,
        *,
        y_squared: ArrayLike | None = None,
        n_samples: int = 1,
    ) -> GramLasso:
        """Fits from ``gram = X'X (p, p)`` and ``cross = X'y (p,)`` or ``(p, responses)``.

        ``n_samples`` is the ``n`` both are divided by (1: they are averages already); ``y_squared``
        is ``y'y`` of each response, for the duality gap. Without it the gap is relative to the part
        of ``y'y`` that the fit explains. No intercept is fitted.
        """
        self._check_parameters()
        matrix, products = _matrix(gram, "gram"), _array(cross, "cross")
        p = len(matrix)
        single = products.ndim == 1
        if single:
            products = products[:, None]
        if matrix.shape != (p, p):
            raise ValueError(f"gram: got shape {matrix.shape}, takes a square matrix")
        if products.ndim != 2 or len(products) != p:
            raise ValueError(
                f"cross: got shape {np.shape(cross)} for gram {matrix.shape}, takes ({p},) or "
                f"({p}, responses)"
            )
        if not np.allclose(matrix, matrix.T, rtol=1e-3, atol=1e-3 * float(np.abs(matrix).max())):
            raise ValueError("gram: got an asymmetric matrix, takes X'X")
        _check_count("n_samples", n_samples)
        dtype = np.result_type(matrix, products)
        scale = dtype.type(n_samples)
        squares = None
        if y_squared is not None:
            squares = np.atleast_1d(_array(y_squared, "y_squared")).astype(dtype) / scale
            if squares.shape != (products.shape[1],):
                raise ValueError(
                    f"y_squared: got shape {squares.shape}, takes ({products.shape[1]},)"
                )
        gram_mean = np.ascontiguousarray(matrix.astype(dtype) / scale)
        self._solve(gram_mean, np.ascontiguousarray(products.T.astype(dtype) / scale), squares)
        self.intercept_ = np.zeros(len(self.coef_), dtype)
        if single:
            self.coef_, self.intercept_ = self.coef_[0], dtype.type(0)
            self.dual_gap_ = self.dual_gap_[0]
        return self

    def predict(self, x: ArrayLike) -> Array:
        """``x (n, features)`` to ``(n, responses)``, or ``(n,)`` for one response."""
        if not hasattr(self, "coef_"):
            raise ValueError("predict: this GramLasso is not fitted yet; call fit first")
        inputs = _matrix(x, "x")
        if inputs.shape[1] != self.n_features_in_:
            raise ValueError(
                f"x: got {inputs.shape[1]} features, takes {self.n_features_in_} as in fit"
            )
        result: Array = inputs @ self.coef_.T + self.intercept_
        return result

    def score(self, x: ArrayLike, y: ArrayLike) -> float:
        """The coefficient of determination, averaged over responses."""
        targets = _array(y, "y")
        residual = ((targets - self.predict(x)) ** 2).sum(0)
        total = ((targets - targets.mean(0)) ** 2).sum(0)
        return float(np.mean(1 - residual / np.where(total == 0, 1, total)))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's parameters (scikit-learn's habit)."""
        names = ("alpha", "fit_intercept", "max_iter", "tol", "threads")
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> GramLasso:
        """Sets constructor parameters (scikit-learn's habit)."""
        for name, value in params.items():
            if name not in self.get_params():
                raise ValueError(f"{name}: not a parameter; takes {sorted(self.get_params())}")
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type="regressor",
            target_tags=TargetTags(required=True, multi_output=True),
            regressor_tags=RegressorTags(),
            input_tags=InputTags(),
        )

    def __repr__(self) -> str:
        return f"GramLasso({', '.join(f'{k}={v!r}' for k, v in self.get_params().items())})"

    def _check_parameters(self) -> None:
        _check_real("alpha", self.alpha)
        _check_real("tol", self.tol)
        _check_count("max_iter", self.max_iter)
        if self.threads is not None:
            _check_count("threads", self.threads)

    def _solve(self, gram: Array, cross: Array, squares: Array | None) -> None:
        m, p = cross.shape
        self.coef_ = np.zeros((m, p), gram.dtype)
        self.dual_gap_ = np.zeros(m, gram.dtype)
        self.n_iter_ = 0
        self.n_features_in_ = p
        threads = 0 if self.threads is None else int(self.threads)
        alpha = float(self.alpha)
        rows = np.arange(m)  # the responses that are not finished
        while len(rows):
            weights = self.coef_[rows]
            gaps, scale = _duality_gaps(
                weights, gram, cross[rows], alpha, None if squares is None else squares[rows]
            )
            self.dual_gap_[rows] = gaps
            open_rows = gaps > self.tol * scale
            rows, weights = rows[open_rows], weights[open_rows]
            if not len(rows):
                break
            if self.n_iter_ >= self.max_iter:
                warnings.warn(
                    f"GramLasso: {len(rows)} of {m} responses did not reach tol={self.tol} in "
                    f"{self.max_iter} sweeps",
                    RuntimeWarning,
                    stacklevel=3,
                )
                break
            weights = np.ascontiguousarray(weights)
            targets = np.ascontiguousarray(cross[rows])
            first = sweep(
                weights, gram, targets, alpha=alpha, passes=_PASSES, threads=threads
            ).max()
            self.n_iter_ += 1
            active = np.flatnonzero(weights.any(0))
            if 0 < len(active) <= _RESTRICT * p:
                inner = np.ascontiguousarray(weights[:, active])
                inner_gram = np.ascontiguousarray(gram[np.ix_(active, active)])
                inner_cross = np.ascontiguousarray(targets[:, active])
                for _ in range(_INNER_SWEEPS):
                    moved = sweep(
                        inner,
                        inner_gram,
                        inner_cross,
                        alpha=alpha,
                        passes=_PASSES,
                        threads=threads,
                    ).max()
                    if moved <= 1e-3 * first:
                        break
                weights[:, active] = inner
            self.coef_[rows] = weights


def _transposed_product(a: Array, b: Array) -> Array:
    """``a.T @ b`` in parts of some hundredths of a second: within one, BLAS hears no Ctrl-C."""
    product = np.zeros((a.shape[1], b.shape[1]), np.result_type(a, b))
    columns = 256
    rows = max(256, _PART // max(1, a.shape[1] * columns))
    for left in range(0, b.shape[1], columns):
        strip = slice(left, left + columns)
        first = left if a is b else 0  # what lies above the diagonal is mirrored
        for top in range(0, len(a), rows):
            part = slice(top, top + rows)
            product[first:, strip] += a[part, first:].T @ b[part, strip]
    return np.tril(product) + np.tril(product, -1).T if a is b else product


def _duality_gaps(
    weights: Array, gram: Array, cross: Array, alpha: float, squares: Array | None
) -> tuple[Array, Array]:
    """Gaps of each row and what they are relative to (``y'y / n``)."""
    residual = cross - weights @ gram
    fit = np.einsum("ij,ij->i", cross, weights)
    left = np.einsum("ij,ij->i", residual, weights)
    tiny = np.finfo(gram.dtype).tiny
    diagonal = np.maximum(np.diag(gram), tiny)
    if squares is None:
        # At least what is explained now, and what the best single coordinate could explain.
        squares = np.maximum(fit + left, (cross**2 / diagonal).max(1, initial=0.0))
    slack = squares - fit
    largest = np.abs(residual).max(1, initial=0.0)
    dual = np.minimum(1.0, alpha / np.maximum(largest, tiny))
    if alpha == 0:
        # No L1 term: the dual is not scaled; the gradient itself must vanish.
        return (residual**2 / diagonal).sum(1), squares
    size = np.maximum(slack - left, 0)
    gap = 0.5 * (1 + dual**2) * size + alpha * np.abs(weights).sum(1) - dual * slack
    return np.maximum(gap, 0), squares


def _check_real(name: str, value: object) -> None:
    if not isinstance(value, numbers.Real) or not 0 <= float(value) < float("inf"):
        raise ValueError(f"{name}: got {value!r}, takes a finite number >= 0")


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < 1:
        raise ValueError(f"{name}: got {value!r}, takes a positive int")


def _array(values: ArrayLike, name: str) -> Array:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: got dtype {array.dtype}, takes real numbers")
    if array.dtype != np.float32:
        array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: got NaN or infinite values, takes finite ones")
    return array


def _matrix(values: ArrayLike, name: str) -> Array:
    array = _array(values, name)
    if array.ndim != 2 or not array.shape[1]:
        raise ValueError(f"{name}: got shape {array.shape}, takes (rows, features)")
    return array
