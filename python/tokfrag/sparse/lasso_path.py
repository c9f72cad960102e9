"""The Lasso's penalty by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokfrag.sparse._lasso_data import (
    check_count,
    check_real,
    moments,
    real_array,
    sample_matrix,
    sample_weights,
    target_matrix,
)
from tokfrag.sparse._lasso_solver import Settings, solve
from tokfrag.sparse.lasso import GramLasso

Array = NDArray[Any]


class GramLassoCV(GramLasso):
    """:class:`GramLasso` whose ``alpha`` is chosen by cross-validation, as ``LassoCV`` does.

    Each fold has one Gram matrix, on which all penalties are solved, the largest first, each from
    the last one's weights. One ``alpha`` is chosen for all responses.

    Parameters
    ----------
    alphas : array, optional
        Penalties to try; by default ``n_alphas`` from the least that makes all weights zero down to
        ``eps`` times it, in even steps of the logarithm.
    n_alphas : int
    eps : float
    cv : int or list of pairs
        How many folds, of samples that follow one another; or the numbers of the samples to fit and
        of those to leave out, a pair a fold.
    l1_ratio, fit_intercept, positive, max_iter, tol, threads
        As in :class:`GramLasso`.

    Attributes
    ----------
    alpha_ : the chosen penalty
    alphas_ : ``(n_alphas,)``, falling
    mse_path_ : ``(n_alphas, cv)``, the squared errors on the samples left out
    coef_, intercept_, dual_gap_, n_iter_, n_features_in_ : of the fit to all samples

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal((100, 5))
    >>> model = GramLassoCV(n_alphas=20).fit(x, x @ [3.0, 0.0, 0.0, -2.0, 0.0])
    >>> model.mse_path_.shape, (model.coef_ != 0).astype(int)
    ((20, 5), array([1, 0, 0, 1, 0]))
    """

    _parameters = (
        "alphas",
        "n_alphas",
        "eps",
        "cv",
        "l1_ratio",
        "fit_intercept",
        "positive",
        "max_iter",
        "tol",
        "threads",
    )

    alpha_: float
    alphas_: Array
    mse_path_: Array

    def __init__(
        self,
        alphas: ArrayLike | None = None,
        *,
        n_alphas: int = 100,
        eps: float = 1e-3,
        cv: int | Sequence[tuple[Array, Array]] = 5,
        l1_ratio: float = 1.0,
        fit_intercept: bool = True,
        positive: bool = False,
        max_iter: int = 1000,
        tol: float = 1e-4,
        threads: int | None = None,
    ) -> None:
        self.alphas = alphas
        self.n_alphas = n_alphas
        self.eps = eps
        self.cv = cv
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.max_iter = max_iter
        self.tol = tol
        self.threads = threads

    def fit(
        self, x: ArrayLike, y: ArrayLike | None, sample_weight: ArrayLike | None = None
    ) -> GramLassoCV:
        """Choose ``alpha`` and fit ``x (n, features)`` to ``y (n,)`` or ``(n, responses)``.

        Parameters
        ----------
        x : (n, features) array or SciPy sparse matrix
        y : (n,) or (n, responses) array
        sample_weight : (n,) array, optional
            How much each sample counts, in the fits and in the errors.

        Returns
        -------
        GramLassoCV
            This one, fitted.

        Raises
        ------
        ValueError, TypeError
            A parameter, shape or dtype is out of range, or data are NaN or infinite.
        """
        self._check_parameters()
        check_count("n_alphas", self.n_alphas)
        check_real("eps", self.eps, 1.0)
        inputs = sample_matrix(x, "x")
        count = inputs.shape[0]
        targets, _ = target_matrix(y, count, inputs.shape)
        weights = sample_weights(sample_weight, count)
        self.alphas_ = self._penalties(inputs, targets, weights)
        self.mse_path_ = np.stack(
            [self._errors(inputs, targets, weights, *fold) for fold in self._folds(count)], 1
        )
        self.alpha_ = float(self.alphas_[self.mse_path_.mean(1).argmin()])
        super().fit(x, y, sample_weight)
        return self

    def _penalties(self, inputs: Any, targets: Array, weights: Array) -> Array:
        if self.alphas is not None:
            alphas = real_array(self.alphas, "alphas").astype(np.float64)
            if alphas.ndim != 1 or not len(alphas) or (alphas < 0).any():
                raise ValueError(f"alphas: got shape {alphas.shape}, takes numbers >= 0 in a row")
            return np.sort(alphas)[::-1]
        if not self.l1_ratio:
            raise ValueError("alphas: got None with l1_ratio=0, takes the penalties to try")
        data = moments(inputs, targets.astype(np.float64), weights, centre=self.fit_intercept)
        cross = data.cross if self.positive else np.abs(data.cross)
        most = max(float(cross.max()), np.finfo(np.float64).tiny) / self.l1_ratio
        return np.geomspace(most, most * max(self.eps, 1e-12), self.n_alphas)

    def _folds(self, count: int) -> list[tuple[Array, Array]]:
        """The samples to fit and those left out, of each fold."""
        if not isinstance(self.cv, (int, np.integer)):
            return [(np.asarray(kept), np.asarray(left)) for kept, left in self.cv]
        if not 2 <= self.cv <= count:  # True is 1
            raise ValueError(f"cv: got {self.cv} for {count} samples, takes 2 to {count}")
        samples = np.arange(count)
        folds = np.array_split(samples, int(self.cv))
        return [(np.setdiff1d(samples, fold), fold) for fold in folds]

    @property
    def _penalty(self) -> float:
        return getattr(self, "alpha_", 0.0)

    def _errors(
        self, inputs: Any, targets: Array, weights: Array, kept: Array, fold: Array
    ) -> Array:
        """Squared errors on a fold at each penalty, the model fitted to the samples kept."""
        dtype = np.result_type(inputs.dtype, targets)
        data = moments(
            inputs[kept].astype(dtype),
            targets[kept].astype(dtype),
            weights[kept].astype(dtype),
            centre=self.fit_intercept,
        )
        shares = weights[fold]
        if not shares.sum() > 0:
            raise ValueError("sample_weight: got a fold without weight, takes fewer folds")
        settings: Settings = self._settings()
        start, errors = None, []
        for alpha in self.alphas_:
            fit = solve(
                data.gram, data.cross, data.squares, replace(settings, alpha=float(alpha)), start
            )
            start = fit.weights
            shift = data.mean_out - start @ data.mean_in
            wrong = np.asarray(inputs[fold] @ start.T) + shift - targets[fold]
            errors.append(np.average((wrong**2).mean(1), weights=shares))
        return np.array(errors)
