"""The Lasso for many responses that share their inputs."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokfrag.sparse._lasso_data import (
    check_count,
    check_real,
    matrix,
    moments,
    real_array,
    sample_matrix,
    sample_weights,
    target_matrix,
)
from tokfrag.sparse._lasso_solver import Settings, Solution, solve

Array = NDArray[Any]


class GramLasso:
    r"""The Lasso and the elastic net by blocked coordinate descent, all responses at once.

    For each response ``y`` it minimises ``1/(2 n) ||y - X w - b||^2 + alpha (l1_ratio ||w||_1 +
    (1 - l1_ratio) / 2 ||w||^2)``, the objective of ``sklearn.linear_model.ElasticNet``; with
    ``l1_ratio=1``, of ``Lasso``. Responses share the Gram matrix ``X'X``, so a sweep
    over a block of coordinates is one matrix product for all of them. Sweeps run over the active
    coordinates until they settle, then over all; a response is finished when its duality gap is.

    Parameters
    ----------
    alpha : float
        Weight of the penalty, >= 0, in units of ``y`` times units of ``X``.
    l1_ratio : float
        The L1 term's share of the penalty, 0 to 1.
    fit_intercept : bool
        Whether ``b`` is fitted (by centring) or zero.
    positive : bool
        Whether weights stay at zero or above (by NumPy, so slower).
    max_iter : int
        Most sweeps over all coordinates; a ``RuntimeWarning`` says when they did not suffice.
    tol : float
        A response is finished when its duality gap is at most ``tol ||y||^2 / n``.
    threads : int, optional
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
    _parameters: tuple[str, ...] = (
        "alpha",
        "l1_ratio",
        "fit_intercept",
        "positive",
        "max_iter",
        "tol",
        "threads",
    )

    coef_: Any
    intercept_: Any
    dual_gap_: Any
    n_iter_: int
    n_features_in_: int

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 1.0,
        fit_intercept: bool = True,
        positive: bool = False,
        max_iter: int = 1000,
        tol: float = 1e-4,
        threads: int | None = None,
    ) -> None:
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.max_iter = max_iter
        self.tol = tol
        self.threads = threads

    def fit(
        self, x: ArrayLike, y: ArrayLike | None, sample_weight: ArrayLike | None = None
    ) -> GramLasso:
        """Fit ``x (n, features)`` to ``y (n,)`` or ``(n, responses)``.

        Parameters
        ----------
        x : (n, features) array or SciPy sparse matrix
            A sparse matrix is not made dense; the Gram matrix is.
        y : (n,) or (n, responses) array
        sample_weight : (n,) array, optional
            How much each sample counts, relative to the others.

        Returns
        -------
        GramLasso
            This one, fitted.

        Raises
        ------
        ValueError, TypeError
            A parameter, shape or dtype is out of range, or data are NaN or infinite.
        """
        self._check_parameters()
        inputs = sample_matrix(x, "x")
        targets, single = target_matrix(y, inputs.shape[0], inputs.shape)
        weights = sample_weights(sample_weight, inputs.shape[0])
        dtype = np.result_type(inputs.dtype, targets)
        data = moments(
            inputs.astype(dtype),
            targets.astype(dtype),
            weights.astype(dtype),
            centre=self.fit_intercept,
        )
        self._keep(solve(data.gram, data.cross, data.squares, self._settings()))
        self.intercept_ = (data.mean_out - self.coef_ @ data.mean_in).astype(dtype)
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
        """Fit from products of the data, which may be too large to hold; fits no intercept.

        Parameters
        ----------
        gram : (features, features) array
            ``X'X``, symmetric.
        cross : (features,) or (features, responses) array
            ``X'y``.
        y_squared : (responses,) array or float, optional
            ``y'y`` of each response, for the duality gap. Without it the gap is relative to the
            part of ``y'y`` that the fit explains.
        n_samples : int
            The ``n`` that all of them are divided by; 1: they are averages already.

        Returns
        -------
        GramLasso
            This one, fitted.

        Raises
        ------
        ValueError, TypeError
            Shapes do not fit, ``gram`` is not symmetric, or numbers are out of range.
        """
        self._check_parameters()
        square, products = matrix(gram, "gram"), real_array(cross, "cross")
        p = len(square)
        single = products.ndim == 1
        if single:
            products = products[:, None]
        if square.shape != (p, p):
            raise ValueError(f"gram: got shape {square.shape}, takes a square matrix")
        if products.ndim != 2 or len(products) != p:
            raise ValueError(
                f"cross: got shape {np.shape(cross)} for gram {square.shape}, takes ({p},) or "
                f"({p}, responses)"
            )
        if not np.allclose(square, square.T, rtol=1e-3, atol=1e-3 * float(np.abs(square).max())):
            raise ValueError("gram: got an asymmetric matrix, takes X'X")
        check_count("n_samples", n_samples)
        dtype = np.result_type(square, products)
        scale = dtype.type(n_samples)
        squares = None
        if y_squared is not None:
            squares = np.atleast_1d(real_array(y_squared, "y_squared")).astype(dtype) / scale
            if squares.shape != (products.shape[1],):
                raise ValueError(
                    f"y_squared: got shape {squares.shape}, takes ({products.shape[1]},)"
                )
        gram_mean = np.ascontiguousarray(square.astype(dtype) / scale)
        cross_mean = np.ascontiguousarray(products.T.astype(dtype) / scale)
        self._keep(solve(gram_mean, cross_mean, squares, self._settings()))
        self.intercept_ = np.zeros(len(self.coef_), dtype)
        if single:
            self.coef_, self.intercept_ = self.coef_[0], dtype.type(0)
            self.dual_gap_ = self.dual_gap_[0]
        return self

    def predict(self, x: ArrayLike) -> Array:
        """Predict the responses: ``x @ coef_.T + intercept_``.

        Parameters
        ----------
        x : (n, features) array or SciPy sparse matrix

        Returns
        -------
        (n, responses) array
            ``(n,)`` if one response was fitted as ``(n,)``.

        Raises
        ------
        ValueError
            It is not fitted yet, or ``x`` has another number of features.
        """
        if not hasattr(self, "coef_"):
            raise _not_fitted("predict: this GramLasso is not fitted yet; call fit first")
        inputs = sample_matrix(x, "x")
        got, fitted = inputs.shape[1], self.n_features_in_
        if got != fitted:
            raise ValueError(
                f"x: got {got} features, takes {fitted} as in fit (X has {got} features, but "
                f"{type(self).__name__} is expecting {fitted} features as input)"
            )
        return np.asarray(inputs @ self.coef_.T + self.intercept_)

    def score(self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The coefficient of determination R^2, averaged over responses.

        Parameters
        ----------
        x : (n, features) array or SciPy sparse matrix
        y : (n,) or (n, responses) array
        sample_weight : (n,) array, optional
            How much each sample counts, relative to the others.

        Returns
        -------
        float
            1 for a perfect fit; 0 for one no better than the mean.

        Raises
        ------
        ValueError
            `y` is of another shape than what is predicted for `x`.
        """
        predicted = self.predict(x)
        targets = real_array(y, "y")
        if targets.ndim == 1 or targets.shape == (len(predicted), 1):  # one response, either way
            targets, predicted = targets.reshape(-1), predicted.reshape(-1)
        if targets.shape != predicted.shape:
            raise ValueError(f"y: got shape {targets.shape}, takes {predicted.shape}")
        weights = sample_weights(sample_weight, len(targets))
        mean = np.average(targets, 0, weights=weights)
        residual = np.average((targets - predicted) ** 2, 0, weights=weights)
        total = np.average((targets - mean) ** 2, 0, weights=weights)
        return float(np.mean(1 - residual / np.where(total == 0, 1, total)))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's parameters, as scikit-learn asks for them.

        Parameters
        ----------
        deep : bool
            Has no effect: no parameter is an estimator.

        Returns
        -------
        dict
            Name to value.
        """
        return {name: getattr(self, name) for name in self._parameters}

    def set_params(self, **params: Any) -> GramLasso:
        """Set parameters of the constructor, as scikit-learn does; ``fit`` checks their values.

        Returns
        -------
        GramLasso
            This one.

        Raises
        ------
        ValueError
            A name is no parameter.
        """
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
            input_tags=InputTags(sparse=True),
        )

    def __repr__(self) -> str:
        parameters = ", ".join(f"{k}={v!r}" for k, v in self.get_params().items())
        return f"{type(self).__name__}({parameters})"

    def _check_parameters(self) -> None:
        check_real("alpha", self._penalty)
        check_real("l1_ratio", self.l1_ratio, 1.0)
        check_real("tol", self.tol)
        check_count("max_iter", self.max_iter)
        if self.threads is not None:
            check_count("threads", self.threads)

    @property
    def _penalty(self) -> float:
        return self.alpha

    def _settings(self) -> Settings:
        threads = 0 if self.threads is None else int(self.threads)
        return Settings(
            float(self._penalty),
            float(self.l1_ratio),
            bool(self.positive),
            int(self.max_iter),
            float(self.tol),
            threads,
        )

    def _keep(self, solution: Solution) -> None:
        self.coef_, self.dual_gap_ = solution.weights, solution.gaps
        self.n_iter_ = solution.sweeps
        self.n_features_in_ = solution.weights.shape[1]


def _not_fitted(message: str) -> ValueError:
    """The exception that scikit-learn's users catch, where it is loaded; a ValueError too."""
    if "sklearn" not in sys.modules:
        return ValueError(message)
    from sklearn.exceptions import NotFittedError

    error: ValueError = NotFittedError(message)
    return error
